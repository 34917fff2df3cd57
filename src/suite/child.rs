//! A run in a process of its own.

use std::fs::File;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::compose::lacks_reference;
use super::folder::SuiteFolder;
use super::plan::Run;
use crate::config::{yaml, Config};
use crate::telemetry::atomic;
use crate::train::launcher;

/// `covalign train` at work on a run.
pub struct Child {
    process: std::process::Child,
    /// Whether it goes on with what an earlier process began.
    pub resumes: bool,
}

impl Child {
    /// Starts the training of `run`, whose claimed log is `log`, on CUDA device `device` where given.
    pub fn start(
        folder: &SuiteFolder,
        run: &Run,
        log: &File,
        device: Option<&str>,
    ) -> Result<Child> {
        let config = folder.config(&run.name);
        atomic::write(&config, filled(folder, run)?.as_bytes())?;
        let place = folder.run(&run.name);
        // One that died before it began is begun again in what it left.
        let resumes = place.config().is_file();
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
        if let Some(device) = device {
            command.env("CUDA_VISIBLE_DEVICES", device);
        }
        let process = command.spawn().context("cannot start covalign train")?;
        let what = if resumes { "goes on" } else { "begins" };
        // For people; a log that cannot grow stops nothing.
        let mut to = log;
        let _ = writeln!(to, "--- {} {what}, process {}", run.name, process.id());
        Ok(Child { process, resumes })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, where it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.process.try_wait()?)
    }

    /// Asks it to save and stop; a second time, to stop at once.
    pub fn interrupt(&self) {
        // One that has just ended needs no signal.
        let _ = kill(Pid::from_raw(self.process.id() as i32), Signal::SIGINT);
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

/// The CUDA devices that runs take turns on, as `CUDA_VISIBLE_DEVICES` names them: the `usable` ones
/// of `visible`, what it is, where it is set. Empty where there is at most one.
pub fn devices(visible: Option<&str>, usable: &[usize]) -> Vec<String> {
    let visible: Option<Vec<&str>> = visible.map(|list| list.split(',').map(str::trim).collect());
    let name = |&device: &usize| match &visible {
        Some(names) => names.get(device).map(|name| (*name).to_owned()),
        None => Some(device.to_string()),
    };
    match usable.len() > 1 {
        true => usable.iter().filter_map(name).collect(),
        false => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::devices;

    #[test]
    fn runs_take_turns_on_the_visible_devices_that_can_be_used() {
        assert_eq!(devices(None, &[0, 2]), ["0", "2"]);
        assert_eq!(devices(Some("3, GPU-8a"), &[0, 1]), ["3", "GPU-8a"]);
        assert_eq!(devices(Some("3,1,0"), &[1, 2]), ["1", "0"]);
        assert!(devices(Some("3"), &[0]).is_empty() && devices(None, &[]).is_empty());
    }
}
