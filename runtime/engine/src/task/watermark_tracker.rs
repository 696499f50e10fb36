//! Watermark and idleness of a node, combined over its inputs.

/// One input: a direct call, or one channel of an exchange.
#[derive(Debug, Clone, Copy, Default)]
struct InputChannel {
    watermark: Option<i64>,
    idle: bool,
    ended: bool,
}

/// Combines the inputs of one node. The watermark is the smallest of all inputs that are neither
/// idle nor ended, and never falls. When every input that has not ended is idle, the node is idle
/// and its watermark the largest of theirs, so that the order in which they fell idle does not
/// matter.
#[derive(Debug, Clone)]
pub(crate) struct WatermarkTracker {
    inputs: Vec<InputChannel>,
    watermark: Option<i64>,
    restored: Option<i64>,
    idle: bool,
    ended: bool,
}

/// What changed for the node. To be acted on in this order: active, watermark, idle, end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Change {
    /// It counts again.
    pub(crate) active: bool,
    /// It grew to this.
    pub(crate) watermark: Option<i64>,
    /// Nothing to expect for now.
    pub(crate) idle: bool,
    /// All input has ended.
    pub(crate) ended: bool,
}

impl WatermarkTracker {
    pub(crate) fn new(inputs: usize) -> Self {
        Self {
            inputs: vec![InputChannel::default(); inputs],
            watermark: None,
            restored: None,
            idle: false,
            ended: false,
        }
    }

    /// The combined watermark.
    pub(crate) fn combined(&self) -> Option<i64> {
        self.watermark
    }

    /// The watermark that every subtask of the node agrees upon at a barrier: computed from the
    /// inputs as they are now, independently of the order in which they fell idle and became active
    /// again. Channels have equal values in all subtasks, and so has the checkpoint they started
    /// from.
    pub(crate) fn agreed(&self) -> Option<i64> {
        self.of_lanes().max(self.restored)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended
    }

    /// Continues from a checkpoint.
    pub(crate) fn restore(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(Some(watermark));
        self.restored = self.watermark;
    }

    pub(crate) fn watermark(&mut self, input: usize, watermark: i64) -> Change {
        if let Some(input) = self.inputs.get_mut(input) {
            input.watermark = input.watermark.max(Some(watermark));
        }
        self.combine()
    }

    pub(crate) fn idle(&mut self, input: usize, idle: bool) -> Change {
        if let Some(input) = self.inputs.get_mut(input) {
            input.idle = idle;
        }
        self.combine()
    }

    pub(crate) fn end(&mut self, input: usize) -> Change {
        if let Some(input) = self.inputs.get_mut(input) {
            input.ended = true;
        }
        self.combine()
    }

    fn combine(&mut self) -> Change {
        if self.ended {
            return Change::default();
        }
        let mut change = Change::default();
        if self.inputs.iter().all(|input| input.ended) {
            self.ended = true;
            change.ended = true;
            if self.watermark < Some(i64::MAX) {
                self.watermark = Some(i64::MAX);
                change.watermark = self.watermark;
            }
            return change;
        }
        let idle = self.open().all(|input| input.idle);
        change.active = self.idle && !idle;
        change.idle = !self.idle && idle;
        self.idle = idle;
        let combined = self.of_lanes();
        if combined > self.watermark {
            self.watermark = combined;
            change.watermark = combined;
        }
        change
    }

    fn open(&self) -> impl Iterator<Item = &InputChannel> {
        self.inputs.iter().filter(|input| !input.ended)
    }

    /// The inputs' watermarks combined, as they are now.
    fn of_lanes(&self) -> Option<i64> {
        if self.ended {
            return Some(i64::MAX);
        }
        let speaking = self.open().filter(|input| !input.idle);
        let smallest = speaking.map(|input| input.watermark).min();
        smallest.unwrap_or_else(|| self.open().map(|input| input.watermark).max().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_is_the_smallest_of_the_active_channels() {
        let mut watermarks = WatermarkTracker::new(3);
        assert_eq!(watermarks.watermark(0, 10), Change::default());
        assert_eq!(watermarks.watermark(1, 20), Change::default());
        assert_eq!(watermarks.watermark(2, 30).watermark, Some(10));
        assert_eq!(watermarks.idle(0, true).watermark, Some(20));
        assert_eq!(watermarks.end(1).watermark, Some(30));
    }

    #[test]
    fn a_watermark_never_falls_back() {
        let mut watermarks = WatermarkTracker::new(2);
        watermarks.idle(0, true);
        assert_eq!(watermarks.watermark(1, 50).watermark, Some(50));
        assert_eq!(watermarks.idle(0, false), Change::default());
        assert_eq!(watermarks.watermark(0, 10), Change::default());
        assert_eq!(watermarks.combined(), Some(50));
        watermarks.restore(40);
        assert_eq!(watermarks.combined(), Some(50));
    }

    #[test]
    fn what_is_agreed_upon_does_not_depend_on_the_order_of_idleness() {
        let (mut first, mut second) = (WatermarkTracker::new(2), WatermarkTracker::new(2));
        first.watermark(0, 10);
        first.idle(0, true);
        first.watermark(1, 50);
        first.idle(0, false);
        second.watermark(0, 10);
        second.idle(0, true);
        second.idle(0, false);
        second.watermark(1, 50);
        assert_eq!((first.combined(), second.combined()), (Some(50), Some(10)));
        assert_eq!((first.agreed(), second.agreed()), (Some(10), Some(10)));
        let mut restored = WatermarkTracker::new(2);
        restored.restore(30);
        assert_eq!(restored.agreed(), Some(30), "no lane has spoken yet");
    }

    #[test]
    fn when_all_fall_idle_their_order_does_not_matter() {
        for order in [[0, 1], [1, 0]] {
            let mut watermarks = WatermarkTracker::new(2);
            watermarks.watermark(0, 10);
            watermarks.watermark(1, 20);
            watermarks.idle(order[0], true);
            assert!(watermarks.idle(order[1], true).idle);
            assert_eq!(watermarks.combined(), Some(20));
            assert!(watermarks.idle(1, false).active);
        }
    }

    #[test]
    fn the_end_of_all_channels_is_the_last_watermark() {
        let mut watermarks = WatermarkTracker::new(2);
        watermarks.end(0);
        watermarks.idle(1, true);
        assert_eq!(watermarks.combined(), None, "an idle lane may speak again");
        let change = watermarks.end(1);
        assert_eq!((change.watermark, change.ended), (Some(i64::MAX), true));
        assert_eq!(watermarks.end(1), Change::default());
    }
}
