//! A run in a process of its own.

use std::fs::File;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::compose::lacks_reference;
use super::folder::SuiteFolder;
use super::plan::Run;
use crate::bail_input;
use crate::config::{yaml, Config};
use crate::telemetry::atomic;
use crate::train::launcher;

/// `covalign train` at work on a run.
pub struct Child {
    /// The first speaks for all.
    processes: Vec<Process>,
    /// Whether it goes on with what an earlier process began.
    pub resumes: bool,
}

impl Child {
    /// Starts the training of `run`, whose claimed log is `log`; on CUDA `devices`, where given, with a
    /// process for each.
    pub fn start(folder: &SuiteFolder, run: &Run, log: &File, devices: &[String]) -> Result<Child> {
        let config = folder.config(&run.name);
        atomic::write(&config, filled(folder, run)?.as_bytes())?;
        let place = folder.run(&run.name);
        // One that died before it began is begun again in what it left.
        let resumes = place.config().is_file();
        let size = devices.len().max(1);
        // Somebody else may take it before the processes do; then the run is tried again.
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let start = |rank: usize| -> Result<Process> {
            let mut command = Command::new(std::env::current_exe()?);
            command
                .current_dir(folder.root())
                .args(["train", &format!("configs/{}.yaml", run.name)])
                .args(["--out", &format!("runs/{}", run.name)])
                .args(resumes.then_some("--resume"))
                .stdin(Stdio::null())
                .stdout(log.try_clone()?)
                .stderr(log.try_clone()?)
                // A terminal's Ctrl-C goes to the suite alone, which passes it on once.
                .process_group(0);
            // What started the suite has not started this.
            for name in launcher::TOGETHER {
                command.env_remove(name);
            }
            if size > 1 {
                command.envs(launcher::variables(rank, size, port));
            }
            if !devices.is_empty() {
                command.env("CUDA_VISIBLE_DEVICES", devices.join(","));
            }
            command.spawn().context("cannot start covalign train")
        };
        let processes: Vec<Process> = (0..size).map(start).collect::<Result<_>>()?;
        let what = if resumes { "goes on" } else { "begins" };
        // For people; a log that cannot grow stops nothing.
        let mut to = log;
        let id = processes[0].id();
        let _ = writeln!(to, "--- {} {what}, process {id}", run.name);
        Ok(Child { processes, resumes })
    }

    pub fn id(&self) -> u32 {
        self.processes[0].id()
    }

    /// How it ended, where all its processes have.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let ended = self.processes.iter_mut().map(Process::try_wait);
        let ended: Vec<Option<ExitStatus>> = ended.collect::<Result<_, _>>()?;
        Ok(match ended.iter().all(Option::is_some) {
            true => ended[0],
            false => None,
        })
    }

    /// Asks it to save and stop; a second time, to stop at once.
    pub fn interrupt(&self) {
        for process in &self.processes {
            // One that has just ended needs no signal.
            let _ = kill(Pid::from_raw(process.id() as i32), Signal::SIGINT);
        }
    }
}

/// The run's config with what only earlier runs can tell: single-task scores.
fn filled(folder: &SuiteFolder, run: &Run) -> Result<String> {
    let mut config: Config = yaml::from_str(&run.config, &run.name)?;
    if !lacks_reference(&config) {
        return Ok(run.config.clone());
    }
    let needs = run
        .needs
        .iter()
        .filter(|need| Some(*need) != run.source.as_ref());
    for results in needs.filter_map(|need| folder.results(need)) {
        let scores = results.tasks.into_iter();
        let scores = scores.map(|(task, result)| (task, result.dev.score));
        config.sampling.reference.extend(scores);
    }
    config.to_yaml()
}

/// The CUDA devices that runs take turns on, `together` for each run, as `CUDA_VISIBLE_DEVICES` names
/// them: the `usable` ones of `visible`, what it is, where it is set. Empty where there is at most one.
///
/// # Errors
/// An input error where there are fewer than a run wants.
pub fn devices(
    visible: Option<&str>,
    usable: &[usize],
    together: usize,
) -> Result<Vec<Vec<String>>> {
    let visible: Option<Vec<&str>> = visible.map(|list| list.split(',').map(str::trim).collect());
    let name = |&device: &usize| match &visible {
        Some(names) => names.get(device).map(|name| (*name).to_owned()),
        None => Some(device.to_string()),
    };
    let names: Vec<String> = usable.iter().filter_map(name).collect();
    if together > 1 && together > names.len() {
        let there = names.len();
        bail_input!("--gpus-per-run {together}: {there} CUDA devices can be used here");
    }
    Ok(match usable.len() > 1 {
        true => names.chunks_exact(together).map(<[_]>::to_vec).collect(),
        false => Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::devices;

    #[test]
    fn runs_take_turns_on_the_visible_devices_that_can_be_used() {
        let alone = |visible, usable: &[usize]| devices(visible, usable, 1).unwrap().concat();
        assert_eq!(alone(None, &[0, 2]), ["0", "2"]);
        assert_eq!(alone(Some("3, GPU-8a"), &[0, 1]), ["3", "GPU-8a"]);
        assert_eq!(alone(Some("3,1,0"), &[1, 2]), ["1", "0"]);
        assert!(alone(Some("3"), &[0]).is_empty() && alone(None, &[]).is_empty());
    }

    #[test]
    fn runs_of_two_devices_take_two_each() {
        let pairs = devices(None, &[0, 1, 2, 3, 4], 2).unwrap();
        assert_eq!(pairs, [["0", "1"], ["2", "3"]]);
        let error = devices(None, &[0], 2).unwrap_err().to_string();
        assert!(error.contains("--gpus-per-run 2"), "{error}");
    }
}
