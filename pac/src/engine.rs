//! A script that is loaded, on the thread that runs it.

use std::{rc::Rc, sync::Arc};

use rquickjs::{
    CatchResultExt as _, CaughtError, Context, Ctx, Error, Exception, Function, Runtime, Value,
    context::{EvalOptions, intrinsic},
};

use crate::{
    CALL_MAX, LOAD_MAX, Outcome, PacError, Place, Query, Surroundings,
    budget::Budget,
    functions::{self, Call},
};

/// A script that is loaded. It belongs to one thread; see [`PacRunner`](crate::PacRunner) for one that has its own.
pub struct Engine {
    text: Arc<str>,
    /// The engine with the script. `None` after a call that failed, until the next call loads the script again.
    loaded: Option<Loaded>,
}

/// The script in its JavaScript engine. A field is dropped before the ones below it.
struct Loaded {
    context: Context,
    call: Rc<Call>,
    budget: Rc<Budget>,
    _runtime: Runtime,
}

/// The parts of JavaScript that scripts get. Browsers have long had them in PAC files. Nothing that runs later, such as
/// promises, is among them.
type Intrinsics = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
);

impl Engine {
    /// Loads `text` within [`LOAD_MAX`] of processor time.
    ///
    /// # Errors
    /// The text is not a script, its top level fails, or it has no function.
    pub fn load(text: Arc<str>) -> Result<Self, PacError> {
        let loaded = Some(Loaded::new(&text)?);
        Ok(Self { text, loaded })
    }

    /// Loads the script again if the last call failed. The next call does this too.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub(crate) fn load_again(&mut self) -> Result<(), PacError> {
        if self.loaded.is_none() {
            self.loaded = Some(Loaded::new(&self.text)?);
        }
        Ok(())
    }

    /// Calls the script.
    ///
    /// A call that fails may leave a mess behind, such as memory that is used up. So the next call loads the script again.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub fn call(
        &mut self,
        query: &Query,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Outcome, PacError> {
        let loaded = match self.loaded.take() {
            Some(loaded) => loaded,
            None => Loaded::new(&self.text)?,
        };
        let outcome = loaded.call(query, surroundings)?;
        self.loaded = Some(loaded);
        Ok(outcome)
    }
}

impl Loaded {
    fn new(text: &str) -> Result<Self, PacError> {
        if text.trim_start().starts_with('<') {
            return Err(PacError::Html);
        }
        let no_engine = |error: Error| PacError::NoThread(error.to_string());
        let runtime = Runtime::new().map_err(no_engine)?;
        runtime.set_memory_limit(MEMORY_MAX);
        runtime.set_max_stack_size(STACK_MAX);
        let (budget, call) = (Rc::new(Budget::default()), Rc::new(Call::default()));
        let watched = Rc::clone(&budget);
        runtime.set_interrupt_handler(Some(Box::new(move || watched.is_used_up())));
        budget.begin(LOAD_MAX);
        let context = Context::custom::<Intrinsics>(&runtime).map_err(no_engine)?;
        context.with(|context| functions::define(&context, &call)).map_err(no_engine)?;
        let loaded = Self { context, call, budget, _runtime: runtime };
        loaded.context.with(|context| loaded.run(&context, text))?;
        Ok(loaded)
    }

    /// Runs the top level of the script.
    fn run(&self, context: &Ctx<'_>, text: &str) -> Result<(), PacError> {
        let mut options = EvalOptions::default();
        options.strict = false;
        options.filename = Some(FILE_NAME.into());
        let done = context.eval_with_options::<Value<'_>, _>(text, options);
        done.catch(context).map_err(|error| match self.explain(&error) {
            PacError::Threw { message, place } if is_syntax_error(&error) => {
                PacError::Syntax { message, place }
            }
            other => other,
        })?;
        function(context).map(|_| ())
    }

    fn call(
        &self,
        query: &Query,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Outcome, PacError> {
        self.budget.begin(CALL_MAX);
        self.call.begin(surroundings);
        let answer = self.context.with(|context| self.answer(&context, query));
        match self.call.end() {
            Some(name) if !self.budget.is_exceeded() => Ok(Outcome::Lookup(name)),
            _ => answer.map(Outcome::Answer),
        }
    }

    fn answer(&self, context: &Ctx<'_>, query: &Query) -> Result<String, PacError> {
        // The script may have made the name a getter, which runs here.
        let function = function(context).map_err(|error| {
            let is_late = self.budget.is_exceeded();
            if is_late { PacError::TooSlow(self.budget.whole()) } else { error }
        })?;
        let answer = function.call::<_, Value<'_>>((&*query.url, &*query.host)).catch(context);
        let answer = answer.map_err(|error| self.explain(&error))?;
        let Some(text) = answer.as_string() else {
            return Err(PacError::NotText(answer.type_name()));
        };
        let text = text.to_string().map_err(|_| PacError::NotText("half a character"))?;
        if text.len() > ANSWER_BYTES_MAX {
            return Err(PacError::TooLong(ANSWER_BYTES_MAX));
        }
        Ok(text)
    }

    fn explain(&self, error: &CaughtError<'_>) -> PacError {
        if self.budget.is_exceeded() {
            return PacError::TooSlow(self.budget.whole());
        }
        if is_exhaustion(error) {
            return PacError::Exhausted;
        }
        let (message, place) = match error {
            CaughtError::Exception(exception) => {
                let stack = exception.stack().unwrap_or_default();
                (exception.message().unwrap_or_default(), place(&stack))
            }
            CaughtError::Value(value) => (shown(value), None),
            CaughtError::Error(error) => (error.to_string(), None),
        };
        let message = message.chars().filter(|c| !c.is_control()).take(MESSAGE_MAX).collect();
        PacError::Threw { message, place }
    }
}

/// Returns the function to call. It is looked up for each call, since the script may replace it.
fn function<'js>(context: &Ctx<'js>) -> Result<Function<'js>, PacError> {
    // The second name is Microsoft's, for scripts that know IPv6.
    let names = ["FindProxyForURL", "FindProxyForURLEx"];
    let mut found = names.iter().filter_map(|name| {
        let found = context.globals().get::<_, Option<Function<'js>>>(*name);
        found.catch(context).ok().flatten()
    });
    found.next().ok_or(PacError::NoFunction)
}

fn is_syntax_error(error: &CaughtError<'_>) -> bool {
    matches!(error, CaughtError::Exception(exception) if name(exception) == "SyntaxError")
}

/// Returns whether a script ran out of memory or stack.
///
/// The engine reports this only by exceptions, and a script can throw the same ones itself. That does no harm: the caller
/// then refuses the request, even if it lets the requests of scripts that failed go direct.
fn is_exhaustion(error: &CaughtError<'_>) -> bool {
    match error {
        // No memory is left for an exception.
        CaughtError::Value(value) => value.is_null(),
        CaughtError::Exception(exception) => match &*name(exception) {
            "InternalError" => true,
            "RangeError" => exception.message().is_some_and(|message| message == STACK_EXCEEDED),
            _ => false,
        },
        CaughtError::Error(error) => matches!(error, Error::Allocation),
    }
}

/// Returns the name of the class of an exception, such as `TypeError`.
fn name(exception: &Exception<'_>) -> String {
    exception.as_object().get("name").unwrap_or_default()
}

/// Returns a thrown value as text.
fn shown(value: &Value<'_>) -> String {
    let text = value.as_string().and_then(|text| text.to_string().ok());
    text.unwrap_or_else(|| format!("a value of type {}", value.type_name()))
}

/// Finds the place in the script that an exception came from: its innermost frame outside the preludes.
fn place(stack: &str) -> Option<Place> {
    let frames = stack.lines().filter_map(|frame| frame.split_once(FILE_NAME_AND_COLON));
    let mut places = frames.filter_map(|(_, at)| {
        let (line, column) = at.trim_end_matches(')').split_once(':')?;
        Some(Place { line: line.parse().ok()?, column: column.parse().ok()? })
    });
    places.next()
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("bytes", &self.text.len()).finish_non_exhaustive()
    }
}

/// The engine's message for a stack overflow. A `RangeError` may have other reasons.
const STACK_EXCEEDED: &str = "Maximum call stack size exceeded";
/// The name of the script in the engine's traces.
const FILE_NAME: &str = "pac";
const FILE_NAME_AND_COLON: &str = "pac:";
/// The memory of a script. The largest ones of companies take about a tenth of it.
const MEMORY_MAX: usize = 16 << 20;
/// The stack of a script: half of what its thread has.
const STACK_MAX: usize = 512 << 10;
/// The most bytes of an answer. A list of a hundred proxies has three thousand.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The most characters of an exception's text that are shown.
const MESSAGE_MAX: usize = 200;
