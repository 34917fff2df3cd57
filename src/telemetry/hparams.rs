//! What TensorBoard's HParams page reads: which parameters and metrics there are, a run's values,
//! its end.

use std::fmt;

use protobuf::well_known_types::Value;
use protobuf::{Message, RepeatedField};
use tensorboard_proto::api::{
    DataType, DatasetType, Experiment, HParamInfo, MetricInfo, MetricName, Status,
};
use tensorboard_proto::plugin_hparams::{HParamsPluginData, SessionEndInfo, SessionStartInfo};

/// A hyper-parameter's value.
#[derive(Debug, Clone, PartialEq)]
pub enum HParam {
    Number(f64),
    Text(String),
    Bool(bool),
}

impl HParam {
    pub fn kind(&self) -> Kind {
        match self {
            HParam::Number(_) => Kind::Number,
            HParam::Text(_) => Kind::Text,
            HParam::Bool(_) => Kind::Bool,
        }
    }
}

impl fmt::Display for HParam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HParam::Number(number) => number.fmt(f),
            HParam::Text(text) => text.fmt(f),
            HParam::Bool(flag) => flag.fmt(f),
        }
    }
}

/// What a hyper-parameter's values are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Number,
    Text,
    Bool,
}

/// A hyper-parameter as the page has it: a column for all runs, a value in this one.
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    /// Of every run's values.
    pub kind: Kind,
    /// None where the run has none.
    pub value: Option<HParam>,
    /// Whether the page has it before the others.
    pub first: bool,
}

/// The plugin's message and the tag that it belongs under.
pub(super) struct PluginData {
    pub tag: &'static str,
    /// A serialised `HParamsPluginData`.
    pub content: Vec<u8>,
}

/// `HParamInfo.differs`, which the crate's copy of the protocol does not have yet. TensorBoard sets
/// such parameters first, each part in alphabetical order.
const DIFFERS: u32 = 7;

/// The columns in their order and the scalar tags that are the results. TensorBoard takes those of one
/// of a folder's runs for all.
pub(super) fn experiment(columns: &[Column], metrics: &[String], created: f64) -> PluginData {
    let parameter = |column: &Column| {
        let mut info = HParamInfo::new();
        info.set_name(column.name.clone());
        info.set_field_type(match column.kind {
            Kind::Number => DataType::DATA_TYPE_FLOAT64,
            Kind::Text => DataType::DATA_TYPE_STRING,
            Kind::Bool => DataType::DATA_TYPE_BOOL,
        });
        if column.first {
            info.mut_unknown_fields().add_varint(DIFFERS, 1);
        }
        info
    };
    let metric = |tag: &String| {
        let mut name = MetricName::new();
        name.set_tag(tag.clone());
        let mut info = MetricInfo::new();
        info.set_name(name);
        info.set_dataset_type(DatasetType::DATASET_VALIDATION);
        info
    };
    let mut experiment = Experiment::new();
    experiment.set_hparam_infos(columns.iter().map(parameter).collect());
    experiment.set_metric_infos(metrics.iter().map(metric).collect::<RepeatedField<_>>());
    experiment.set_time_created_secs(created);
    let mut data = HParamsPluginData::new();
    data.set_experiment(experiment);
    serialised("_hparams_/experiment", data)
}

/// A run's values.
pub(super) fn session_start(columns: &[Column], started: f64) -> PluginData {
    let value = |value: &HParam| {
        let mut out = Value::new();
        match value {
            HParam::Number(number) => out.set_number_value(*number),
            HParam::Text(text) => out.set_string_value(text.clone()),
            HParam::Bool(flag) => out.set_bool_value(*flag),
        }
        out
    };
    let mut start = SessionStartInfo::new();
    let set = |column: &Column| Some((column.name.clone(), value(column.value.as_ref()?)));
    start.set_hparams(columns.iter().filter_map(set).collect());
    start.set_start_time_secs(started);
    let mut data = HParamsPluginData::new();
    data.set_session_start_info(start);
    serialised("_hparams_/session_start_info", data)
}

/// That the run succeeded.
pub(super) fn session_end(ended: f64) -> PluginData {
    let mut end = SessionEndInfo::new();
    end.set_status(Status::STATUS_SUCCESS);
    end.set_end_time_secs(ended);
    let mut data = HParamsPluginData::new();
    data.set_session_end_info(end);
    serialised("_hparams_/session_end_info", data)
}

fn serialised(tag: &'static str, data: HParamsPluginData) -> PluginData {
    // Only a message with unset required fields fails to serialise, and proto3 has none.
    let content = data.write_to_bytes().unwrap_or_default();
    PluginData { tag, content }
}
