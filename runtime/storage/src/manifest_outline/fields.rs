//! The fields of a manifest that an outline is made of. All others are skipped without being held.

use std::{fmt, io, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use streamkeeper_protocol::manifest::{BlockRef, ObjectRange};

use super::{NO_ROOM, Outline, OutlineBuilder, parts::ParseError};

/// Reads an outline.
pub(super) fn read(
    mut builder: OutlineBuilder,
    text: impl io::Read,
) -> Result<Outline, ParseError> {
    let mut parser = serde_json::Deserializer::from_reader(io::BufReader::new(text));
    let read = One::<Top>::new(&mut builder)
        .deserialize(&mut parser)
        .and_then(|()| parser.end());
    if let Some(why) = builder.too_new() {
        return Err(ParseError::Text(why));
    }
    read.map_err(|error| text_error(&error))?;
    builder.finish().map_err(ParseError::Text)
}

/// Reads a plan only as far as needed to distinguish it from other JSON.
pub(super) fn read_plan(text: impl io::Read) -> Result<(), ParseError> {
    #[derive(Deserialize)]
    #[expect(dead_code, reason = "they must be there")]
    struct Plan {
        format: u32,
        nodes: IgnoredAny,
        settings: IgnoredAny,
    }
    serde_json::from_reader::<_, Plan>(io::BufReader::new(text))
        .map(|_| ())
        .map_err(|error| text_error(&error))
}

fn text_error(error: &serde_json::Error) -> ParseError {
    let why = error.to_string();
    if why.starts_with(NO_ROOM) {
        ParseError::OverMemoryLimit
    } else {
        ParseError::Text(why)
    }
}

#[derive(Debug, Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Field {
    Format,
    MinReader,
    JobUid,
    Checkpoint,
    PlanHash,
    Operators,
    States,
    Runs,
    At,
    Blocks,
    Committables,
    Staged,
    #[serde(other)]
    Other,
}

/// A record of a manifest, read field by field.
trait Record {
    const WHAT: &'static str;

    /// Prepares for the fields of the record.
    fn begin(_: &mut OutlineBuilder) {}

    /// Reads the value of one field.
    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error>;

    /// Completes the record after its fields, or returns why it is invalid.
    fn end(_: &mut OutlineBuilder) -> Result<(), String> {
        Ok(())
    }
}

/// One record.
struct One<'a, R>(&'a mut OutlineBuilder, PhantomData<R>);

impl<'a, R> One<'a, R> {
    fn new(builder: &'a mut OutlineBuilder) -> Self {
        Self(builder, PhantomData)
    }
}

impl<'de, R: Record> DeserializeSeed<'de> for One<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de, R: Record> Visitor<'de> for One<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(R::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        R::begin(self.0);
        while let Some(field) = map.next_key::<Field>()? {
            R::field(self.0, &field, &mut map)?;
        }
        R::end(self.0).map_err(A::Error::custom)
    }
}

/// A list of records.
struct Each<'a, R>(&'a mut OutlineBuilder, PhantomData<R>);

impl<'a, R> Each<'a, R> {
    fn new(builder: &'a mut OutlineBuilder) -> Self {
        Self(builder, PhantomData)
    }
}

impl<'de, R: Record> DeserializeSeed<'de> for Each<'_, R> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de, R: Record> Visitor<'de> for Each<'_, R> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list, each {}", R::WHAT)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(One::<R>::new(self.0))?.is_some() {}
        Ok(())
    }
}

/// Blocks of a run.
struct Blocks<'a>(&'a mut OutlineBuilder);

impl<'de> DeserializeSeed<'de> for Blocks<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Blocks<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of blocks")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(block) = seq.next_element::<BlockRef>()? {
            self.0.block(block).map_err(A::Error::custom)?;
        }
        Ok(())
    }
}

fn pass<'de, A: MapAccess<'de>>(map: &mut A) -> Result<(), A::Error> {
    map.next_value::<IgnoredAny>().map(|_| ())
}

fn need(seen: bool, field: &str) -> Result<(), String> {
    if seen {
        Ok(())
    } else {
        Err(format!("missing field `{field}`"))
    }
}

struct Top;

impl Record for Top {
    const WHAT: &'static str = "a manifest";

    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            Field::Format => builder.format = map.next_value()?,
            Field::MinReader => {
                builder.min_reader = Some(map.next_value()?);
                if let Some(why) = builder.too_new() {
                    return Err(A::Error::custom(why));
                }
            }
            Field::JobUid => {
                builder.outline.job_uid = map.next_value()?;
                builder.seen.job_uid = true;
            }
            Field::Checkpoint => {
                builder.outline.checkpoint = map.next_value()?;
                builder.seen.checkpoint = true;
            }
            Field::PlanHash => {
                builder.outline.plan_hash = map.next_value()?;
                builder.seen.plan_hash = true;
            }
            Field::Operators => {
                map.next_value_seed(Each::<Operator>::new(builder))?;
                builder.seen.operators = true;
            }
            Field::Committables => {
                map.next_value_seed(Each::<Committable>::new(builder))?;
                builder.seen.committables = true;
            }
            _ => pass(map)?,
        }
        Ok(())
    }

    fn end(builder: &mut OutlineBuilder) -> Result<(), String> {
        need(builder.min_reader.is_some(), "min_reader")?;
        need(builder.seen.job_uid, "job_uid")?;
        need(builder.seen.checkpoint, "checkpoint")?;
        need(builder.seen.plan_hash, "plan_hash")?;
        need(builder.seen.operators, "operators")?;
        need(builder.seen.committables, "committables")
    }
}

struct Operator;

impl Record for Operator {
    const WHAT: &'static str = "the state of an operator";

    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            Field::States => {
                map.next_value_seed(Each::<State>::new(builder))?;
                builder.seen.states = true;
                Ok(())
            }
            _ => pass(map),
        }
    }

    fn end(builder: &mut OutlineBuilder) -> Result<(), String> {
        need(std::mem::take(&mut builder.seen.states), "states")
    }
}

struct State;

impl Record for State {
    const WHAT: &'static str = "a state with its runs";

    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            Field::Runs => {
                map.next_value_seed(Each::<Run>::new(builder))?;
                builder.seen.runs = true;
                Ok(())
            }
            _ => pass(map),
        }
    }

    fn end(builder: &mut OutlineBuilder) -> Result<(), String> {
        need(std::mem::take(&mut builder.seen.runs), "runs")
    }
}

struct Run;

impl Record for Run {
    const WHAT: &'static str = "a run";

    fn begin(builder: &mut OutlineBuilder) {
        builder.begin_run();
    }

    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            Field::At => builder.range = Some(map.next_value()?),
            Field::Blocks => map.next_value_seed(Blocks(builder))?,
            _ => pass(map)?,
        }
        Ok(())
    }

    fn end(builder: &mut OutlineBuilder) -> Result<(), String> {
        builder.end_run()
    }
}

struct Committable;

impl Record for Committable {
    const WHAT: &'static str = "output that is prepared";

    fn field<'de, A: MapAccess<'de>>(
        builder: &mut OutlineBuilder,
        field: &Field,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match field {
            Field::Staged => {
                if let Some(range) = map.next_value::<Option<ObjectRange>>()? {
                    builder.push(range, (0, 0)).map_err(A::Error::custom)?;
                }
                Ok(())
            }
            _ => pass(map),
        }
    }
}
