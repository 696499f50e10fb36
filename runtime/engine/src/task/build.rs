//! Builds a subtask from its parts.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use streamkeeper_protocol::types::DataType;

use super::{
    alignment::Alignment,
    clock::now_ms,
    source::SourceTask,
    subtask::{ChainState, Channel, Node, NodePart, SinkBufferLevel, Subtask, SubtaskParts, Work},
    watermark_tracker::WatermarkTracker,
};
use crate::{
    EngineError,
    exchange::{OutputChannel, Partition, ReturnCredit},
    operators,
};

impl Subtask {
    /// Builds a subtask. It does nothing before [`Command::Start`].
    pub fn new(parts: SubtaskParts) -> Result<Self, EngineError> {
        let SubtaskParts {
            plan,
            topology,
            subtask,
            assignment,
            nodes,
            watermarks,
            inbox,
            links,
            credits,
            credit_bytes,
            sink_buffer_bytes,
            freeze_slice,
            guarantee,
            clock,
            counters,
            report,
        } = parts;
        let defect = |detail: &str| EngineError::Internal {
            operator: format!("subtask {subtask}"),
            detail: detail.to_owned(),
        };
        if nodes.len() != plan.nodes.len()
            || links.len() != topology.edges.len()
            || credits.len() != topology.edges.len()
        {
            return Err(defect("its parts do not match the plan"));
        }
        let now = now_ms(&*clock);
        let mut built: Vec<Node> = Vec::with_capacity(nodes.len());
        for ((part, wiring), node) in nodes.into_iter().zip(&topology.nodes).zip(&plan.nodes) {
            let mut inputs = Vec::with_capacity(wiring.inputs.len());
            let mut count = 0;
            for input in &wiring.inputs {
                inputs.push(count);
                count += if input.is_some() {
                    topology.parallelism as usize
                } else {
                    1
                };
            }
            let mut tracker = WatermarkTracker::new(count);
            let watermark = watermarks.get(node.id).copied().flatten();
            let mut own_watermark = None;
            let work = match part {
                NodePart::Source(source, splits) => Work::Source(SourceTask::new(
                    source,
                    splits,
                    &plan.settings,
                    topology.parallelism,
                    now,
                )),
                NodePart::Operator(mut operator) => {
                    let makes_watermarks = operator.own_watermark().is_some();
                    if let Some(watermark) = watermark {
                        operator.restore_watermark(watermark);
                        if makes_watermarks {
                            own_watermark = Some(watermark);
                        }
                    }
                    Work::Operator {
                        operator,
                        makes_watermarks,
                    }
                }
                NodePart::Sink(sink) => Work::Sink(sink),
            };
            if let Some(watermark) = watermark.filter(|_| own_watermark.is_none()) {
                tracker.restore(watermark);
            }
            built.push(Node {
                work,
                watermarks: tracker,
                inputs,
                own_watermark,
                label: node.label.clone(),
                scratch: Vec::new(),
            });
        }
        let mut first_channel = vec![0; topology.edges.len()];
        let mut credits: Vec<Option<Vec<Arc<dyn ReturnCredit>>>> =
            credits.into_iter().map(Some).collect();
        let mut chains = Vec::with_capacity(topology.chains.len());
        for chain in &topology.chains {
            let mut channels = Vec::new();
            for &edge in &chain.inputs {
                first_channel[edge] = channels.len();
                let call = topology.edges[edge].to;
                let input = built[call.node].inputs[call.input];
                let returns = credits[edge]
                    .take()
                    .filter(|returns| returns.len() == topology.parallelism as usize);
                for (from, credit) in returns
                    .ok_or_else(|| defect("an edge has not one channel per subtask"))?
                    .into_iter()
                    .enumerate()
                {
                    channels.push(Channel {
                        call,
                        input: input + from,
                        queue: VecDeque::new(),
                        owed: 0,
                        credit,
                    });
                }
            }
            chains.push(ChainState {
                alignment: Alignment::new(channels.len(), !chain.sources.is_empty(), guarantee),
                channels,
                turn: 0,
                stopped: false,
                passed: None,
            });
        }
        let mut output_channels = Vec::with_capacity(topology.edges.len());
        let mut late_filters = Vec::with_capacity(topology.edges.len());
        for (number, (edge, links)) in topology.edges.iter().zip(links).enumerate() {
            if links.len() != topology.parallelism as usize {
                return Err(defect("an edge has not one link per subtask"));
            }
            let fields = &plan.nodes[edge.from].schema.fields;
            let types: Vec<DataType> = edge
                .keys
                .iter()
                .filter_map(|&key| fields.get(key))
                .map(|field| field.ty.data.clone())
                .collect();
            let partition =
                Partition::new(edge.keys.clone(), &types, assignment.clone(), links.len());
            output_channels.push(OutputChannel::new(number, subtask, partition, links));
            let mut filter = operators::late_filter(&plan.nodes[edge.to.node], &plan)?;
            if let Some((filter, watermark)) = filter
                .as_mut()
                .zip(watermarks.get(edge.from).copied().flatten())
            {
                filter.reached(watermark);
            }
            late_filters.push(filter);
        }
        Ok(Self {
            topology,
            nodes: built,
            chains,
            first_channel,
            output_channels,
            late_filters,
            inbox,
            commands: VecDeque::new(),
            arrivals: Vec::new(),
            checkpoints: BTreeMap::new(),
            freezes: VecDeque::new(),
            freeze_slice,
            credit_bytes,
            sink_buffer_bytes: plan.settings.sink_buffer_bytes.unwrap_or(sink_buffer_bytes),
            clock,
            now_ms: now,
            counters,
            report,
            buffer_level: SinkBufferLevel::Plenty,
            started: false,
            first_record: false,
            ended: false,
        })
    }
}
