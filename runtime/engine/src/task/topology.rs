//! The plan as a subtask runs it: which calls which, what goes over channels, and what aligns
//! together.

use streamkeeper_protocol::plan::{Exchange, MAX_DEPTH, NodeId, Operator, StreamPlan};

use crate::EngineError;

/// Where the output of a node goes inside the subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The node that is called.
    pub node: NodeId,
    /// Which of its inputs.
    pub input: usize,
}

/// An exchange edge of the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// Sending node.
    pub from: NodeId,
    /// Receiving node and input.
    pub to: Call,
    /// Key columns of the sender's output.
    pub keys: Vec<usize>,
}

/// Nodes joined by direct calls. They share input channels, so barriers are aligned for all of them
/// at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperatorChain {
    /// Its nodes, in topological order.
    pub nodes: Vec<NodeId>,
    /// Its sources.
    pub sources: Vec<NodeId>,
    /// Exchange edges into it.
    pub inputs: Vec<usize>,
    /// Exchange edges out of it.
    pub outputs: Vec<usize>,
}

/// A node's connections.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wiring {
    /// Direct calls.
    pub calls: Vec<Call>,
    /// Exchange edges.
    pub edges: Vec<usize>,
    /// Per input: none for a direct call, the edge for an exchange.
    pub inputs: Vec<Option<usize>>,
    /// Stage it belongs to.
    pub chain: usize,
}

/// How a plan runs at some parallelism. Every worker computes an equal topology, so that edges have
/// equal numbers everywhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// By node.
    pub nodes: Vec<Wiring>,
    /// Exchange edges.
    pub edges: Vec<Edge>,
    /// Stages, upstream first.
    pub chains: Vec<OperatorChain>,
    /// Subtasks.
    pub parallelism: u32,
}

impl Topology {
    /// Checks the plan's shape and numbers its exchanges. With one subtask there is nothing to
    /// exchange: every edge is a direct call.
    pub fn of(plan: &StreamPlan, parallelism: u32) -> Result<Self, EngineError> {
        let mut nodes = vec![Wiring::default(); plan.nodes.len()];
        let mut edges = Vec::new();
        // Union-find over direct calls; the root is the smallest node.
        let mut root: Vec<NodeId> = (0..plan.nodes.len()).collect();
        let mut depths = Vec::with_capacity(plan.nodes.len());
        for (id, node) in plan.nodes.iter().enumerate() {
            check(plan, id)?;
            let below = node.inputs.iter().map(|input| depths[input.node]).max();
            let depth = below.unwrap_or(0) + 1;
            if depth > MAX_DEPTH {
                return Err(EngineError::Internal {
                    operator: node.label.clone(),
                    detail: format!(
                        "it is operator {depth} after its source, and at most {MAX_DEPTH} may follow each other"
                    ),
                });
            }
            depths.push(depth);
            for (input, upstream) in node.inputs.iter().enumerate() {
                let call = Call { node: id, input };
                match &upstream.exchange {
                    Exchange::Hash { keys } if parallelism > 1 => {
                        nodes[upstream.node].edges.push(edges.len());
                        nodes[id].inputs.push(Some(edges.len()));
                        edges.push(Edge {
                            from: upstream.node,
                            to: call,
                            keys: keys.clone(),
                        });
                    }
                    Exchange::Hash { .. } | Exchange::Forward => {
                        nodes[upstream.node].calls.push(call);
                        nodes[id].inputs.push(None);
                        let (a, b) = (find(&root, id), find(&root, upstream.node));
                        root[a.max(b)] = a.min(b);
                    }
                }
            }
        }
        let mut chains: Vec<OperatorChain> = Vec::new();
        let mut stage_of_root = vec![None; plan.nodes.len()];
        for (id, node) in plan.nodes.iter().enumerate() {
            let top = find(&root, id);
            let chain = *stage_of_root[top].get_or_insert_with(|| {
                chains.push(OperatorChain::default());
                chains.len() - 1
            });
            nodes[id].chain = chain;
            chains[chain].nodes.push(id);
            if matches!(node.operator, Operator::Source(_)) {
                chains[chain].sources.push(id);
            }
        }
        for (number, edge) in edges.iter().enumerate() {
            if nodes[edge.to.node].chain == nodes[edge.from].chain {
                return Err(within_a_stage(plan, edge));
            }
            chains[nodes[edge.to.node].chain].inputs.push(number);
            chains[nodes[edge.from].chain].outputs.push(number);
        }
        Ok(Self {
            nodes,
            edges,
            chains,
            parallelism,
        })
    }
}

/// A chain takes part in a checkpoint when all its inputs have delivered the barrier, and only then
/// sends it on: a chain that waits for its own output never continues.
fn within_a_stage(plan: &StreamPlan, edge: &Edge) -> EngineError {
    let to = &plan.nodes[edge.to.node];
    EngineError::Internal {
        operator: to.label.clone(),
        detail: format!(
            "rows reach it from '{}' both directly and over an exchange, so no checkpoint could ever complete; the plan must exchange on both ways or on none",
            plan.nodes[edge.from].label
        ),
    }
}

fn find(root: &[NodeId], mut node: NodeId) -> NodeId {
    while root[node] != node {
        node = root[node];
    }
    node
}

fn check(plan: &StreamPlan, id: NodeId) -> Result<(), EngineError> {
    let node = &plan.nodes[id];
    let fail = |detail: String| {
        Err(EngineError::Internal {
            operator: node.label.clone(),
            detail,
        })
    };
    if node.id != id {
        return fail(format!(
            "node {} stands at position {id} of the plan",
            node.id
        ));
    }
    let expected = match node.operator {
        Operator::Source(_) => 0..=0,
        Operator::Union | Operator::Sink(_) => 1..=usize::MAX,
        _ => 1..=1,
    };
    if !expected.contains(&node.inputs.len()) {
        return fail(format!("it has {} inputs", node.inputs.len()));
    }
    for input in &node.inputs {
        let Some(upstream) = plan.nodes.get(input.node).filter(|_| input.node < id) else {
            return fail(format!(
                "its input is node {}, which does not come before it",
                input.node
            ));
        };
        if matches!(upstream.operator, Operator::Sink(_)) {
            return fail(format!("its input is the sink '{}'", upstream.label));
        }
        if let Exchange::Hash { keys } = &input.exchange
            && let Some(key) = keys
                .iter()
                .find(|key| **key >= upstream.schema.fields.len())
        {
            return fail(format!(
                "it is partitioned by column {key} of {}",
                upstream.schema.fields.len()
            ));
        }
    }
    Ok(())
}
