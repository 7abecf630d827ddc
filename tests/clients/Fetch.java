import java.io.InputStream;
import java.net.URL;

/** Gets a URL: Fetch.java URL, the body on stdout. The proxy is set by system properties. */
class Fetch {
    public static void main(String[] arguments) throws Exception {
        try (InputStream body = new URL(arguments[0]).openStream()) {
            body.transferTo(System.out);
        }
        System.out.flush();
    }
}
