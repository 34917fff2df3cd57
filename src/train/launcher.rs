//! What a launcher of several processes says in the environment.

use std::env::var;

use anyhow::Result;

use crate::input_error;

/// The variables that make a process one of several, where they are above 1.
pub const TOGETHER: [&str; 2] = ["WORLD_SIZE", "SLURM_STEP_NUM_TASKS"];

/// Where a process stands among those that a launcher has started.
pub struct Place {
    pub rank: usize,
    pub size: usize,
    /// Its number on its machine.
    pub local: usize,
    pub host: String,
    pub port: u16,
    /// What tells this start from an earlier one at the same store.
    pub name: String,
    /// Whether this process offers the store.
    pub serves: bool,
}

/// What tells a process its place among `size` of this machine that meet at `port`, as torchrun says it.
pub fn variables(rank: usize, size: usize, port: u16) -> [(&'static str, String); 5] {
    [
        ("RANK", rank.to_string()),
        ("LOCAL_RANK", rank.to_string()),
        ("WORLD_SIZE", size.to_string()),
        ("MASTER_ADDR", "127.0.0.1".into()),
        ("MASTER_PORT", port.to_string()),
    ]
}

impl Place {
    /// What `torchrun` or `srun` have said; none where a process is alone.
    ///
    /// # Errors
    /// Input errors that name the variable.
    pub fn of_environment() -> Result<Option<Place>> {
        Place::told(&|name| var(name).ok())
    }

    fn told(variable: &dyn Fn(&str) -> Option<String>) -> Result<Option<Place>> {
        let number = |name: &str| -> Result<Option<usize>> {
            let Some(text) = variable(name) else {
                return Ok(None);
            };
            let number = text.parse();
            let number = number.map_err(|_| input_error!("{name}={text}: not a number"))?;
            Ok(Some(number))
        };
        let needed = |name: &str| {
            let text = variable(name);
            text.ok_or_else(|| input_error!("{name} is not set: start with torchrun or srun"))
        };
        let port = |text: String| {
            let port = text.parse::<u16>();
            port.map_err(|_| input_error!("MASTER_PORT={text}: not a port"))
        };
        // torchrun's; whoever sets them by hand.
        if let Some(size) = number("WORLD_SIZE")?.filter(|&size| size > 1) {
            let rank: usize = match number("RANK")? {
                Some(rank) if rank < size => rank,
                Some(rank) => return Err(input_error!("RANK={rank} of WORLD_SIZE={size}")),
                None => return Err(input_error!("WORLD_SIZE is set, but RANK is not")),
            };
            let agent = variable("TORCHELASTIC_USE_AGENT_STORE").as_deref() == Some("True");
            let restart = variable("TORCHELASTIC_RESTART_COUNT").unwrap_or_default();
            return Ok(Some(Place {
                rank,
                size,
                local: number("LOCAL_RANK")?.unwrap_or(rank),
                host: needed("MASTER_ADDR")?,
                port: port(needed("MASTER_PORT")?)?,
                name: format!("covalign/{restart}"),
                serves: rank == 0 && !agent,
            }));
        }
        // Only srun sets it, and only for the processes that it starts.
        let Some(size) = number("SLURM_STEP_NUM_TASKS")?.filter(|&size| size > 1) else {
            return Ok(None);
        };
        let Some(rank) = number("SLURM_PROCID")?.filter(|&rank| rank < size) else {
            return Err(input_error!(
                "SLURM_STEP_NUM_TASKS={size}, but SLURM_PROCID is none of them"
            ));
        };
        let host = match (variable("MASTER_ADDR"), number("SLURM_STEP_NUM_NODES")?) {
            (Some(host), _) => host,
            (None, Some(1)) => "127.0.0.1".into(),
            (None, _) => first_host(&needed("SLURM_STEP_NODELIST")?),
        };
        let job = number("SLURM_JOB_ID")?.unwrap_or(0);
        let step = number("SLURM_STEP_ID")?.unwrap_or(0);
        Ok(Some(Place {
            rank,
            size,
            local: number("SLURM_LOCALID")?.unwrap_or(rank),
            host,
            port: match variable("MASTER_PORT") {
                Some(text) => port(text)?,
                // Two jobs or steps of a machine seldom have the same.
                None => 20_000 + ((job * 7 + step) % 10_000) as u16,
            },
            name: format!("covalign/{job}.{step}"),
            serves: rank == 0,
        }))
    }
}

/// The first name of Slurm's list of machines, such as `gpu[03-05,07],big`.
fn first_host(list: &str) -> String {
    let Some((stem, rest)) = list.split_once('[') else {
        return list.split(',').next().unwrap_or_default().to_owned();
    };
    if let Some((first, _)) = stem.split_once(',') {
        return first.to_owned();
    }
    let number = rest.split(['-', ',', ']']).next().unwrap_or_default();
    format!("{stem}{number}")
}

/// Leaves this process the GPU of its number, before CUDA is loaded: each has its own.
///
/// # Errors
/// An input error where `CUDA_VISIBLE_DEVICES` names several, but fewer than there are processes.
pub fn take_device(local: usize) -> Result<()> {
    const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
    let own = match var(VISIBLE) {
        Err(_) => local.to_string(),
        Ok(list) => {
            let devices: Vec<&str> = list.split(',').collect();
            match devices.get(local) {
                // The launcher has given each its own, or hidden them all.
                _ if devices.len() == 1 => return Ok(()),
                Some(own) => (*own).to_owned(),
                None => {
                    return Err(input_error!(
                        "{VISIBLE}={list} has no device for process {local} of this machine; start \
                         as many processes as devices"
                    ))
                }
            }
        }
    };
    std::env::set_var(VISIBLE, own);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(variables: &[(&str, &str)]) -> Result<Option<Place>> {
        Place::told(&|name| {
            let found = variables.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_process_alone_is_alone_whatever_a_batch_script_says() {
        assert!(place(&[]).unwrap().is_none());
        assert!(place(&[("WORLD_SIZE", "1"), ("RANK", "0")])
            .unwrap()
            .is_none());
        // sbatch's script itself, before srun.
        let batch = [("SLURM_NTASKS", "4"), ("SLURM_PROCID", "0")];
        assert!(place(&batch).unwrap().is_none());
    }

    #[test]
    fn torchrun_and_srun_say_where_a_process_stands() {
        let torchrun = [
            ("WORLD_SIZE", "4"),
            ("RANK", "3"),
            ("LOCAL_RANK", "1"),
            ("MASTER_ADDR", "node7"),
            ("MASTER_PORT", "29500"),
            ("TORCHELASTIC_USE_AGENT_STORE", "True"),
        ];
        let found = place(&torchrun).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.local), (3, 4, 1));
        assert_eq!(
            (&found.host[..], found.port, found.serves),
            ("node7", 29500, false)
        );
        let srun = [
            ("SLURM_STEP_NUM_TASKS", "8"),
            ("SLURM_PROCID", "0"),
            ("SLURM_LOCALID", "0"),
            ("SLURM_STEP_NUM_NODES", "2"),
            ("SLURM_STEP_NODELIST", "gpu[03-04]"),
            ("SLURM_JOB_ID", "123"),
        ];
        let found = place(&srun).unwrap().unwrap();
        assert_eq!((found.rank, found.size, found.serves), (0, 8, true));
        assert_eq!((&found.host[..], found.port), ("gpu03", 20_861));
        assert_eq!(first_host("a,b[1-2]"), "a");
        assert_eq!(first_host("n[5]"), "n5");
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = |variables: &[(&str, &str)]| match place(variables) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("no error"),
        };
        assert!(error(&[("WORLD_SIZE", "2")]).contains("RANK"));
        assert!(error(&[("WORLD_SIZE", "2"), ("RANK", "2")]).contains("RANK=2"));
        assert!(error(&[("WORLD_SIZE", "2"), ("RANK", "1")]).contains("MASTER_ADDR"));
        assert!(error(&[("WORLD_SIZE", "many")]).contains("WORLD_SIZE=many"));
    }
}
