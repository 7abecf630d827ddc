//! Keys for the access of clients and for the sources of passwords.

use super::{OtherKeys, keys};

/// Below `server.auth`.
pub(super) const AUTH: [OtherKeys; 5] = [
    keys(COMMANDS, NO_COMMAND),
    keys(VARIABLES, A_VARIABLE),
    keys(&["users", "accounts", "clients", "logins", "file"], ONE_ACCOUNT_HERE),
    keys(HTPASSWD, ONE_ACCOUNT_HERE),
    keys(
        &["type", "method", "scheme", "realm", "kind"],
        "clients always log in by Basic; remove this key",
    ),
];

/// Words for a command that prints a password.
pub(super) const COMMANDS: &[&str] = &[
    "password_command",
    "password_cmd",
    "password_exec",
    "password_eval",
    "passwordeval",
    "pass_command",
    "pass_cmd",
    "passcmd",
    "command",
    "password_script",
];
/// Words for the name of a variable that has a password.
pub(super) const VARIABLES: &[&str] =
    &["password_env", "password_var", "password_variable", "pass_env", "env"];
pub(super) const NO_COMMAND: &str = "no command is run: write its output into a file and `password_file: FILE`, or into a variable, and \
                          `password: \"${NAME}\"`";
pub(super) const NO_COMMAND_FOR_PASS: &str = "no command is run: write its output into a file and `pass_file: FILE`, or into a variable, and `pass: \"${NAME}\"`";
pub(super) const A_VARIABLE: &str = "write `password: \"${NAME}\"`, with the name of the variable";

/// Words for the addresses of clients that may use a proxy.
pub(super) const ALLOWED_CLIENTS: &[&str] = &[
    "allow",
    "deny",
    "allowed",
    "allow_from",
    "allowed_ips",
    "allowed_clients",
    "whitelist",
    "allowlist",
];
/// Words for a file of accounts.
pub(super) const HTPASSWD: &[&str] = &[
    "htpasswd",
    "htpasswd_file",
    "passwd_file",
    "user_file",
    "users_file",
    "auth_file",
    "userlist",
];

pub(super) const ONLY_AUTH: &str = "clients are let in by credentials, whatever their address: write `auth: { username: NAME, password: \
                         \"${PASSWORD}\" }`; on `127.0.0.1` only this machine reaches the proxy";
pub(super) const ONLY_AUTH_AT_TOP: &str = "clients are let in by credentials, whatever their address: write `server: { auth: { username: \
                                NAME, password: \"${PASSWORD}\" } }`; on `127.0.0.1` only this machine reaches the proxy";
pub(super) const ONE_ACCOUNT: &str = "all clients use one account: write `auth: { username: NAME, password: \"${PASSWORD}\" }`; there is no \
                           file of accounts";
pub(super) const ONE_ACCOUNT_AT_TOP: &str = "all clients use one account: write `server: { auth: { username: NAME, password: \"${PASSWORD}\" \
                                  } }`; there is no file of accounts";
pub(in crate::config::yaml::tree::advice) const ONE_ACCOUNT_HERE: &str =
    "all clients use one account: write `username: NAME` and `password: \"${PASSWORD}\"`";
