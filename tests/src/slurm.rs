//! A Slurm cluster on this machine: a controller and several nodes, each a `slurmd` of its own.

use crate::hosts::{below, is_root, kill_all, program};
use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long the cluster may take for what it is asked.
const PATIENCE: Duration = Duration::from_secs(300);

/// The cluster, which ends when dropped, with all that runs on it.
#[derive(Debug)]
pub struct Slurm {
    folder: TempDir,
    controller: Child,
    nodes: Vec<(String, Child)>,
}

impl Slurm {
    /// Starts a controller and `nodes` nodes, n1 and so on. Where Slurm is missing, says so on stderr.
    ///
    /// # Panics
    /// If it is there and does not start.
    pub fn start(nodes: usize) -> Option<Self> {
        let needed = [
            "slurmctld",
            "slurmd",
            "sbatch",
            "scontrol",
            "squeue",
            "sinfo",
        ];
        if let Some(name) = needed.iter().find(|name| program(name).is_none()) {
            eprintln!("skipped: {name} is not installed");
            return None;
        }
        if !is_root() {
            eprintln!("skipped: only root starts nodes that run jobs for others");
            return None;
        }
        let host = fs::read_to_string("/proc/sys/kernel/hostname").expect("Linux has a name");
        let (host, folder) = (host.trim(), tempfile::tempdir().expect("a folder"));
        // Free now, and hardly taken until the servers have them.
        let sockets: Vec<TcpListener> = (0..=nodes)
            .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"))
            .collect();
        let port = |k: usize| sockets[k].local_addr().expect("bound").port();
        let at = folder.path().display();
        let mut config = format!(
            "ClusterName=one\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={}\nSlurmUser=root\nSlurmdUser=root\n\
             AuthType=auth/none\nAuthInfo=cred_expire=3\nCredType=cred/none\nStateSaveLocation={at}/state\nSlurmdSpoolDir={at}/spool-%n\n\
             SlurmctldPidFile={at}/controller.pid\nSlurmdPidFile={at}/%n.pid\nProctrackType=proctrack/linuxproc\n\
             TaskPlugin=task/none\nJobAcctGatherType=jobacct_gather/none\nSelectType=select/cons_tres\n\
             SelectTypeParameters=CR_Core\nSlurmdParameters=config_overrides\nMpiDefault=none\nReturnToService=2\n\
             SlurmdTimeout=5\nSchedulerParameters=sched_interval=2\n",
            port(0)
        );
        for k in 1..=nodes {
            let _ = writeln!(
                config,
                "NodeName=n{k} NodeHostname={host} NodeAddr=127.0.0.1 Port={} CPUs=2 RealMemory=10000",
                port(k)
            );
            fs::create_dir(folder.path().join(format!("spool-n{k}"))).expect("made");
        }
        config += "PartitionName=all Nodes=ALL Default=YES State=UP\n";
        fs::create_dir(folder.path().join("state")).expect("made");
        let path = folder.path().join("slurm.conf");
        fs::write(&path, config).expect("written");
        drop(sockets);
        let server = |name: &str, arguments: &[&str]| {
            Command::new(program(name).expect("was found"))
                .arg("-D")
                .args(arguments)
                .env("SLURM_CONF", &path)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(
                    fs::File::create(
                        folder
                            .path()
                            .join(format!("{name}{}.log", arguments.concat())),
                    )
                    .expect("made"),
                )
                .spawn()
                .expect("it starts")
        };
        let controller = server("slurmctld", &["-c"]);
        let nodes = (1..=nodes)
            .map(|k| format!("n{k}"))
            .map(|name| (name.clone(), server("slurmd", &["-N", &name])))
            .collect();
        let slurm = Self {
            folder,
            controller,
            nodes,
        };
        slurm.wait("all nodes are idle", || {
            let states = slurm.ask("sinfo", &["-h", "-N", "-o", "%T"]);
            states.lines().filter(|state| *state == "idle").count() == slurm.nodes.len()
        });
        Some(slurm)
    }

    /// The file that says where the cluster is, for `SLURM_CONF`.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("slurm.conf")
    }

    /// What one of Slurm's commands says.
    ///
    /// # Panics
    /// If it does not start.
    pub fn ask(&self, command: &str, arguments: &[&str]) -> String {
        let output = Command::new(command)
            .args(arguments)
            .env("SLURM_CONF", self.config())
            .output()
            .expect("it starts");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until something holds.
    ///
    /// # Panics
    /// If it takes too long.
    pub fn wait(&self, what: &str, holds: impl Fn() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}: {}",
                self.ask("squeue", &[])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Takes a node away as a power cut does, with the job of this number, which runs on it.
    ///
    /// # Panics
    /// If there is no such node.
    pub fn kill(&mut self, node: &str, job: &str) {
        let title = format!("slurmstepd: [{job}.");
        // The queue says that a job runs before the node has started it.
        self.wait("the job has started", || !steps(&title).is_empty());
        let server = &mut self
            .nodes
            .iter_mut()
            .find(|(name, _)| name == node)
            .expect("a node")
            .1;
        let mut all = vec![server.id()];
        for step in steps(&title) {
            all.push(step);
            all.extend(below(step));
        }
        kill_all(all.iter().map(u32::to_string).collect());
        server.wait().expect("it ends");
    }
}

/// Processes whose command line starts so.
fn steps(start: &str) -> Vec<u32> {
    let ids = fs::read_dir("/proc").expect("Linux").flatten();
    let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_step = |id: &u32| {
        fs::read(Path::new("/proc").join(id.to_string()).join("cmdline"))
            .is_ok_and(|line| line.starts_with(start.as_bytes()))
    };
    ids.filter(is_step).collect()
}

impl Drop for Slurm {
    fn drop(&mut self) {
        let servers = self.nodes.iter_mut().map(|(_, server)| server);
        for server in servers.chain([&mut self.controller]) {
            let _ = server.kill();
            let _ = server.wait();
        }
    }
}
