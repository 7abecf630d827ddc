class Mooltiroute < Formula
  desc "Local proxy that sends each connection through a chain of proxies"
  homepage "https://github.com/mooltiroute/mooltiroute"
  version "@VERSION@"
  license "MIT"

  on_macos do
    on_arm do
      url "@RELEASE@/mooltiroute-@VERSION@-aarch64-apple-darwin.tar.gz"
      sha256 "@SHA256:mooltiroute-@VERSION@-aarch64-apple-darwin.tar.gz@"
    end
    on_intel do
      url "@RELEASE@/mooltiroute-@VERSION@-x86_64-apple-darwin.tar.gz"
      sha256 "@SHA256:mooltiroute-@VERSION@-x86_64-apple-darwin.tar.gz@"
    end
  end
  on_linux do
    on_arm do
      url "@RELEASE@/mooltiroute-@VERSION@-aarch64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:mooltiroute-@VERSION@-aarch64-unknown-linux-gnu.tar.gz@"
    end
    on_intel do
      url "@RELEASE@/mooltiroute-@VERSION@-x86_64-unknown-linux-gnu.tar.gz"
      sha256 "@SHA256:mooltiroute-@VERSION@-x86_64-unknown-linux-gnu.tar.gz@"
    end
  end

  def install
    bin.install "mooltiroute"
    man1.install Dir["man/*.1"]
    bash_completion.install "completions/mooltiroute.bash" => "mooltiroute"
    zsh_completion.install "completions/_mooltiroute"
    fish_completion.install "completions/mooltiroute.fish"
    (etc/"mooltiroute/config.d").install Dir["config.d/*.yaml"]
  end

  service do
    run [opt_bin/"mooltiroute", "run", "--config", etc/"mooltiroute/config.d"]
    keep_alive successful_exit: false
    error_log_path var/"log/mooltiroute.log"
  end

  test do
    system bin/"mooltiroute", "init", testpath/"config.d"
    assert_match "listen", shell_output("#{bin}/mooltiroute check --config #{testpath}/config.d")
  end
end
