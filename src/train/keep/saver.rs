//! Files written while training goes on.

use std::sync::mpsc::{sync_channel, SyncSender};
use std::thread::JoinHandle;

use anyhow::{anyhow, Result};

type Job = Box<dyn FnOnce() -> Result<()> + Send>;

/// A thread that does one job after the other. What was begun is ended, also when the run fails.
pub struct Saver {
    jobs: Option<SyncSender<Job>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Saver {
    pub fn start() -> Saver {
        // Without a queue: at most one snapshot waits beside the one that is being written.
        let (jobs, queue) = sync_channel::<Job>(0);
        let work = move || {
            step_back();
            queue.into_iter().try_for_each(|job| job())
        };
        Saver {
            jobs: Some(jobs),
            thread: Some(std::thread::spawn(work)),
        }
    }

    /// Waits until the job before is done, and hands on this one.
    ///
    /// # Errors
    /// What an earlier job failed with; the run should end.
    pub fn submit(&mut self, job: impl FnOnce() -> Result<()> + Send + 'static) -> Result<()> {
        let sent = self.jobs.as_ref().map(|jobs| jobs.send(Box::new(job)));
        match sent {
            Some(Ok(())) => Ok(()),
            _ => self
                .finish()
                .and(Err(anyhow!("the thread that saves has ended"))),
        }
    }

    /// Waits until everything is on disk.
    ///
    /// # Errors
    /// What a job failed with.
    pub fn finish(&mut self) -> Result<()> {
        self.jobs.take();
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(anyhow!("the thread that saves has panicked")),
            None => Ok(()),
        }
    }
}

/// Lets the training threads go first where cores are short: a thread that waits for one of them at
/// the end of a product costs them all their time. At the end of a run nobody is in the way.
fn step_back() {
    // On Linux a process without a number is the thread that asks; elsewhere it is all threads.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::setpriority_process(None, 10);
}

impl Drop for Saver {
    fn drop(&mut self) {
        // The run has failed by something else, which is what it tells of.
        let _ = self.finish();
    }
}
