//! The messages of TensorBoard's page HParams.

use anyhow::{anyhow, Result};
use protobuf::well_known_types::Value;
use protobuf::Message;
use tensorboard_proto::api::{DataType, Experiment, HParamInfo, MetricInfo, MetricName, Status};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};

/// A hyper-parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum HParam {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl HParam {
    fn kind(&self) -> DataType {
        match self {
            HParam::Number(_) => DataType::DATA_TYPE_FLOAT64,
            HParam::Text(_) => DataType::DATA_TYPE_STRING,
            HParam::Bool(_) => DataType::DATA_TYPE_BOOL,
        }
    }

    fn value(&self) -> Value {
        let mut value = Value::new();
        match self {
            HParam::Number(number) => value.set_number_value(*number),
            HParam::Text(text) => value.set_string_value(text.clone()),
            HParam::Bool(flag) => value.set_bool_value(*flag),
        }
        value
    }
}

/// What the page is told, and when; times are seconds since 1970.
pub enum Moment<'a> {
    /// Which hyper-parameters and metrics there are.
    Experiment(&'a [(String, HParam)], &'a [String]),
    /// The run's values.
    Start(&'a [(String, HParam)], f64),
    /// The run came to its end.
    End(f64),
}

/// The plugin's bytes for a moment.
pub fn plugin_data(moment: &Moment) -> Result<Vec<u8>> {
    let mut data = HParamsPluginData::new();
    match moment {
        Moment::Experiment(values, metrics) => data.set_experiment(experiment(values, metrics)),
        Moment::Start(values, time) => {
            let mut start = SessionStartInfo::new();
            for (name, value) in *values {
                start.mut_hparams().insert(name.clone(), value.value());
            }
            start.set_start_time_secs(*time);
            data.set_session_start_info(start);
        }
        Moment::End(time) => {
            let mut end = SessionEndInfo::new();
            end.set_status(Status::STATUS_SUCCESS);
            end.set_end_time_secs(*time);
            data.set_session_end_info(end);
        }
    }
    data.write_to_bytes()
        .map_err(|e| anyhow!("TensorBoard's hyper-parameters: {e}"))
}

fn experiment(values: &[(String, HParam)], metrics: &[String]) -> Experiment {
    let mut experiment = Experiment::new();
    for (name, value) in values {
        let mut info = HParamInfo::new();
        info.set_name(name.clone());
        info.set_field_type(value.kind());
        experiment.mut_hparam_infos().push(info);
    }
    for tag in metrics {
        let mut name = MetricName::new();
        name.set_tag(tag.clone());
        let mut info = MetricInfo::new();
        info.set_name(name);
        experiment.mut_metric_infos().push(info);
    }
    experiment
}
