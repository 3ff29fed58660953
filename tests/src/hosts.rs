//! Other machines: OpenSSH servers on this one, each with tools, keys and a port of its own.

use crate::{TOOLS, tool_path};
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(60);

/// Servers by name, and an `ssh` that knows them. They end when dropped, with all that runs on them.
#[derive(Debug)]
pub struct Hosts {
    folder: TempDir,
    hosts: Vec<Host>,
}

#[derive(Debug)]
struct Host {
    name: String,
    server: Child,
}

/// What of Debian's packages is missing for [`Hosts`] and for the `programs` beside it, in words; none if all is there.
pub fn missing(programs: &[&str]) -> Option<String> {
    let found = |name: &&str| program(name).is_some();
    let needed = ["sshd", "ssh", "ssh-keygen"];
    let all = needed.iter().chain(programs);
    if let Some(name) = all.clone().find(|name| !found(name)) {
        return Some(format!("{name} is not installed"));
    }
    // The server insists on this folder if it runs as root, and leaves it to the system's start-up to make it.
    (is_root() && !Path::new("/run/sshd").is_dir())
        .then(|| "sshd needs the folder /run/sshd when root starts it".to_owned())
}

/// Whether a program is on the PATH.
pub fn installed(name: &str) -> bool {
    program(name).is_some()
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|me| me.uid() == 0)
}

/// A program on the PATH or where servers are kept.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
}

impl Hosts {
    /// Starts a server of each name. Where something is missing, says so on stderr.
    ///
    /// # Panics
    /// If a server does not start, or does not let this user in.
    pub fn start(names: &[&str], programs: &[&str]) -> Option<Self> {
        if let Some(missing) = missing(programs) {
            eprintln!("skipped: {missing}");
            return None;
        }
        let folder = tempfile::tempdir().expect("a folder");
        let mut hosts = Self {
            folder,
            hosts: Vec::new(),
        };
        for key in ["host_key", "user_key"] {
            let made = Command::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-f"])
                .arg(hosts.path(key))
                .status();
            assert!(made.expect("ssh-keygen starts").success());
        }
        fs::create_dir(hosts.path("here")).expect("made");
        let real = program("ssh").expect("was found");
        let config = hosts.path("ssh_config");
        let line = format!("exec '{}' -F '{}' \"$@\"", real.display(), config.display());
        script(&hosts.path("here/ssh"), &line);
        for name in names {
            if let Err(locked) = hosts.add(name) {
                eprintln!("skipped: {locked}");
                return None;
            }
        }
        Some(hosts)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A PATH with an `ssh` that knows the hosts.
    ///
    /// # Panics
    /// If temporary folders lie where no PATH can lead.
    pub fn search_path(&self) -> OsString {
        let folders = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::env::split_paths(&folders);
        std::env::join_paths([self.path("here")].into_iter().chain(folders))
            .expect("no colon in a temporary folder")
    }

    /// That `ssh`.
    pub fn ssh(&self) -> PathBuf {
        self.path("here/ssh")
    }

    /// Puts a program on a host's PATH, of these shell lines.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn install(&self, host: &str, name: &str, lines: &str) {
        let path = self.path(host).join(name);
        let _ = fs::remove_file(&path);
        script(&path, lines);
    }

    /// Starts a server. An error is a reason for which no server lets this user in.
    fn add(&mut self, name: &str) -> Result<(), String> {
        let folder = self.path(name);
        fs::create_dir(&folder).expect("made");
        for tool in TOOLS {
            symlink(tool_path(tool), folder.join(tool)).expect("a link");
        }
        // After the user's own start-up files, which may set the PATH.
        let log_in = format!(
            "export PATH='{}':\"$PATH\"\nexec sh -c \"$SSH_ORIGINAL_COMMAND\"",
            folder.display()
        );
        script(&self.path(&format!("{name}.login")), &log_in);
        let at = |file: &str| self.path(file).display().to_string();
        // Free now, and hardly taken until the server has it.
        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        let port = port.expect("a free port").port();
        // Only root can see that an account is open to others than by password, and only with PAM does it not matter.
        // Where root has no right to do all that PAM may ask for, in a container, it does without.
        let pam = if is_root() { "no" } else { "yes" };
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nPidFile none\nUsePAM {pam}\nStrictModes no\nPasswordAuthentication no\n\
             HostKey {}\nAuthorizedKeysFile {}\nForceCommand exec {}\n",
            at("host_key"),
            at("user_key.pub"),
            at(&format!("{name}.login")),
        );
        let config_path = self.path(&format!("{name}.config"));
        fs::write(&config_path, config).expect("written");
        let log = self.path(&format!("{name}.log"));
        let server = Command::new(program("sshd").expect("was found"))
            .args(["-D", "-e", "-f"])
            .arg(&config_path)
            .stdin(Stdio::null())
            .stderr(File::create(&log).expect("made"))
            .spawn()
            .expect("sshd starts");
        self.hosts.push(Host {
            name: name.to_owned(),
            server,
        });
        self.write_client_config(name, port);
        self.wait_for(name, port, &log)
    }

    fn write_client_config(&self, name: &str, port: u16) {
        let at = |file: &str| self.path(file).display().to_string();
        let mut config = fs::read_to_string(self.path("ssh_config")).unwrap_or_default();
        let _ = write!(
            config,
            "Host {name}\n  HostName 127.0.0.1\n  Port {port}\n  IdentityFile {}\n  IdentitiesOnly yes\n  BatchMode yes\n  \
             UserKnownHostsFile {}\n  StrictHostKeyChecking accept-new\n  LogLevel ERROR\n",
            at("user_key"),
            at("known_hosts"),
        );
        fs::write(self.path("ssh_config"), config).expect("written");
    }

    fn wait_for(&mut self, name: &str, port: u16, log: &Path) -> Result<(), String> {
        let start = Instant::now();
        let said = || fs::read_to_string(log).unwrap_or_default();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            let ended = self.server(name).try_wait().expect("can be asked");
            let late = start.elapsed() > START;
            assert!(
                ended.is_none() && !late,
                "sshd for {name}: {ended:?}: {}",
                said()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        let let_in = Command::new(self.ssh())
            .args([name, "true"])
            .output()
            .expect("ssh starts");
        let log = said();
        if let Some(line) = log.lines().find(|line| line.contains("account is locked")) {
            return Err(format!("sshd: {line}"));
        }
        let why = String::from_utf8_lossy(&let_in.stderr);
        assert!(let_in.status.success(), "{name}: {why}{log}");
        Ok(())
    }

    fn server(&mut self, name: &str) -> &mut Child {
        let host = self.hosts.iter_mut().find(|host| host.name == name);
        &mut host.unwrap_or_else(|| panic!("no host {name}")).server
    }

    /// How many processes run on a host, the server itself not counted.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn running(&mut self, name: &str) -> usize {
        below(self.server(name).id()).len()
    }

    /// How many hosts are there still.
    pub fn alive(&mut self) -> usize {
        let alive = self
            .hosts
            .iter_mut()
            .filter_map(|host| host.server.try_wait().ok());
        alive.filter(Option::is_none).count()
    }

    /// Kills all that runs on a host but its server, so that it can be asked again.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn kill_work(&mut self, name: &str) {
        let server = self.server(name).id();
        kill_all(below(server).iter().map(u32::to_string).collect());
    }

    /// Takes a host away as a power cut does, but for its connections, which are closed: kills its server and all that
    /// runs on it.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn kill(&mut self, name: &str) {
        let server = self.server(name);
        // From the top: the shell that waits for a tool would tell of its death.
        let all: Vec<String> = [server.id()]
            .into_iter()
            .chain(below(server.id()))
            .map(|id| id.to_string())
            .collect();
        kill_all(all);
        server.wait().expect("it ends");
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        let names: Vec<String> = self.hosts.iter().map(|host| host.name.clone()).collect();
        for name in names {
            // One that was killed before is gone, and its number may be another's.
            if matches!(self.server(&name).try_wait(), Ok(None)) {
                self.kill(&name);
            }
        }
    }
}

/// Kills processes, of which some may have ended meanwhile.
pub(crate) fn kill_all(processes: Vec<String>) {
    let killed = Command::new("sh")
        .args(["-c", "kill -9 \"$@\" 2> /dev/null; true", "sh"])
        .args(processes)
        .status();
    assert!(killed.expect("sh starts").success());
}

/// The children of a process, their children, and so on.
pub(crate) fn below(process: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let Ok(threads) = fs::read_dir(format!("/proc/{process}/task")) else {
        return found;
    };
    for thread in threads.flatten() {
        let children = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()) {
            found.push(child);
            found.extend(below(child));
        }
    }
    found
}

/// Writes a program of these shell lines.
///
/// # Panics
/// If it cannot be written.
pub fn script(path: &Path, lines: &str) {
    fs::write(path, format!("#!/bin/sh\n{lines}\n"))
        .unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("made a program");
}
