//! File systems and files that are mounted over the configuration, or unmounted, which no directory reports.

use std::{fs, path::Path, process::Command, time::Duration};

use tempfile::TempDir;
use tokio::time::sleep;

use super::yaml;
use crate::support::Proxy;

#[tokio::test]
async fn mounts_are_changes_and_edits_are_seen_after_them() {
    let home = TempDir::new().unwrap();
    let made = |name: &str, count| {
        let directory = home.path().join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("10.yaml"), yaml(count)).unwrap();
        directory
    };
    made("lower/config.d", 1);
    let (other, lower) = (made("other", 4), home.path().join("lower"));
    let volume = home.path().join("volume");
    fs::create_dir(&volume).unwrap();
    let root = volume.join("config.d");
    let Some(mut proxy) = Proxy::on_mount(&lower, &volume, &root).await else { return };
    let namespace = format!("--mount=/proc/{}/ns/mnt", proxy.pid());
    let mount = |command: &[&str], paths: &[&Path]| {
        let mut mount = Command::new("nsenter");
        assert!(mount.arg(&namespace).args(command).args(paths).status().unwrap().success());
    };

    sleep(LAST_LOOK).await;
    mount(&["umount"], &[&volume]);
    proxy.event("config rejected").await;
    sleep(LAST_LOOK).await;
    mount(&["mount", "--bind"], &[&lower, &volume]);
    proxy.event("config valid again").await;

    let mut generation = 1;
    let mut check = async |edit: &dyn Fn()| {
        let seen = proxy.events().len();
        edit();
        generation += 1;
        let reloaded = proxy.event_after(seen, "config reloaded").await;
        assert_eq!(reloaded.field("generation"), generation.to_string());
    };
    check(&|| fs::write(lower.join("config.d/10.yaml"), yaml(2)).unwrap()).await;
    sleep(LAST_LOOK).await;
    check(&|| mount(&["mount", "--bind"], &[&other, &root])).await;
    check(&|| fs::write(other.join("10.yaml"), yaml(5)).unwrap()).await;
    check(&|| mount(&["umount"], &[&root])).await;
    check(&|| fs::write(lower.join("config.d/10.yaml"), yaml(3)).unwrap()).await;
}

/// As a container gets its configuration in a file of the host.
#[tokio::test]
async fn a_write_to_a_single_file_that_is_mounted_is_a_change() {
    let home = TempDir::new().unwrap();
    let (file, mounted) = (home.path().join("file"), home.path().join("config.d/10.yaml"));
    fs::create_dir(mounted.parent().unwrap()).unwrap();
    fs::write(&file, yaml(1)).unwrap();
    fs::write(&mounted, "").unwrap();
    let root = mounted.parent().unwrap();
    let Some(proxy) = Proxy::on_mount(&file, &mounted, root).await else { return };
    sleep(LAST_LOOK).await;
    for count in [2, 3] {
        let seen = proxy.events().len();
        fs::write(&file, yaml(count)).unwrap();
        let reloaded = proxy.event_after(seen, "config reloaded").await;
        assert_eq!(reloaded.field("generation"), count.to_string());
    }
}

/// The files are looked at once within this time after each change.
const LAST_LOOK: Duration = Duration::from_secs(6);
