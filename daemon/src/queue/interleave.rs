//! Runs threads in every order of their steps (`steps`) that interrupts them at most
//! [`MAX_INTERRUPTIONS`] times, one step at a time. A thread that waits is not interrupted: there
//! the other goes on in every order.
//!
//! Between two steps a thread accesses at most one thing that another thread can see, so no order
//! of the accesses is left out within that limit. A run in which no thread can go on, although one
//! has not ended, is a lost wake-up. What the processor may reorder within
//! a step is not tried: that is what the libraries of the queues promise.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Wake, Waker},
    thread::{Thread, ThreadId},
};

/// Most times that a thread which could go on does not. Each further one multiplies the orders by
/// about ten, and a race of two threads needs one or two.
const MAX_INTERRUPTIONS: usize = 3;

#[derive(Clone, Copy, PartialEq)]
enum Status {
    /// Its thread has not begun.
    Absent,
    Ready,
    Waiting,
    Ended,
}

struct Scheduled {
    id: Option<ThreadId>,
    status: Status,
    /// Woken while it was not waiting: the next wait returns at once.
    is_woken: bool,
}

#[derive(Default)]
struct State {
    threads: Vec<Scheduled>,
    running: Option<usize>,
    /// At each step with a choice: which of how many threads went on.
    choices: Vec<(usize, usize)>,
    n_choice: usize,
    n_interruption: usize,
    failed: Option<String>,
}

/// One run of the threads.
#[derive(Default)]
pub(super) struct Run {
    state: Mutex<State>,
    changed: Condvar,
}

thread_local! {
    static ME: RefCell<Option<(Arc<Run>, usize)>> = const { RefCell::new(None) };
}

/// The place of a thread in a run.
pub(super) struct Slot(Arc<Run>, usize);

impl Slot {
    /// Runs `work` in this thread, step by step.
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> Option<R> {
        let Self(run, me) = self;
        ME.set(Some((Arc::clone(&run), me)));
        {
            let mut state = run.state();
            state.threads[me].id = Some(std::thread::current().id());
            state.threads[me].status = Status::Ready;
            run.changed.notify_all();
            drop(run.until_running(state, me));
        }
        let result = catch_unwind(AssertUnwindSafe(work));
        if let Err(panic) = &result {
            let text = panic.downcast_ref::<String>().cloned();
            run.state().failed.get_or_insert(text.unwrap_or_else(|| "a panic".to_owned()));
        }
        run.switch(me, Status::Ended);
        result.ok()
    }
}

impl Run {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until_running<'a>(
        &self,
        mut state: MutexGuard<'a, State>,
        me: usize,
    ) -> MutexGuard<'a, State> {
        while state.running != Some(me) && state.failed.is_none() {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }

    /// A place for a thread that someone else starts.
    pub(super) fn slot(self: &Arc<Self>) -> Slot {
        let mut state = self.state();
        state.threads.push(Scheduled { id: None, status: Status::Absent, is_woken: false });
        Slot(Arc::clone(self), state.threads.len() - 1)
    }

    /// Starts a thread.
    pub(super) fn thread(self: &Arc<Self>, work: impl FnOnce() + Send + 'static) {
        let slot = self.slot();
        std::thread::spawn(move || slot.run(work));
    }

    /// Lets the next thread go on; returns when it is `me` again, or `me` has ended.
    fn switch(&self, me: usize, status: Status) {
        let mut state = self.state();
        state.threads[me].status = status;
        state.choose(Some(me));
        self.changed.notify_all();
        if status == Status::Ended {
            return;
        }
        let failed = self.until_running(state, me).failed.clone();
        // Unwinding runs destructors, which take steps too.
        if let Some(failed) = failed.filter(|_| !std::thread::panicking()) {
            std::panic::resume_unwind(Box::new(failed));
        }
    }

    fn wake(&self, thread: usize) {
        let mut state = self.state();
        let thread = &mut state.threads[thread];
        match thread.status {
            Status::Waiting => thread.status = Status::Ready,
            _ => thread.is_woken = true,
        }
    }
}

impl State {
    fn choose(&mut self, last: Option<usize>) {
        let ready = |&thread: &usize| self.threads[thread].status == Status::Ready;
        // The thread that ran goes first: the first orders have few switches.
        let others = (0..self.threads.len()).filter(|thread| Some(*thread) != last);
        let ready: Vec<usize> = last.into_iter().chain(others).filter(ready).collect();
        if ready.is_empty() {
            self.running = None;
            if self.threads.iter().any(|thread| thread.status != Status::Ended) {
                self.failed.get_or_insert("a lost wake-up: no thread goes on".to_owned());
            }
            return;
        }
        let is_interruption = last.is_some_and(|last| ready.first() == Some(&last));
        let mut chosen = 0;
        if ready.len() > 1 && !(is_interruption && self.n_interruption == MAX_INTERRUPTIONS) {
            if self.n_choice == self.choices.len() {
                self.choices.push((0, ready.len()));
            }
            chosen = self.choices[self.n_choice].0;
            self.n_choice += 1;
            self.n_interruption += usize::from(is_interruption && chosen > 0);
        }
        self.running = Some(ready[chosen]);
    }
}

impl Wake for Slot {
    fn wake(self: Arc<Self>) {
        self.0.wake(self.1);
    }
}

fn me() -> Option<(Arc<Run>, usize)> {
    ME.with_borrow(Clone::clone)
}

/// Lets any thread go on. Nothing outside of a run.
pub(super) fn step() {
    if let Some((run, me)) = me() {
        run.switch(me, Status::Ready);
    }
}

/// Waits to be woken. Returns false outside of a run.
pub(super) fn park() -> bool {
    let Some((run, me)) = me() else { return false };
    let is_woken = std::mem::take(&mut run.state().threads[me].is_woken);
    run.switch(me, if is_woken { Status::Ready } else { Status::Waiting });
    true
}

/// Wakes a thread of the same run.
pub(super) fn unpark(thread: &Thread) {
    let Some((run, _)) = me() else { return };
    let found = run.state().threads.iter().position(|known| known.id == Some(thread.id()));
    if let Some(found) = found {
        run.wake(found);
    }
}

/// Waits for a future, step by step.
pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let (run, thread) = me().expect("only within a run");
    let waker = Waker::from(Arc::new(Slot(run, thread)));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        park();
    }
}

/// Runs the threads that `begin` starts in every order of their steps (see above); calls the check that it
/// returns after each run. Returns how many orders there are.
pub(super) fn every_order<C: FnOnce()>(begin: impl Fn(&Arc<Run>) -> C) -> usize {
    let mut choices: Vec<(usize, usize)> = Vec::new();
    let mut n_order = 0;
    loop {
        let run = Arc::new(Run::default());
        run.state().choices = choices;
        let check = begin(&run);
        let mut state = run.state();
        while state.threads.iter().any(|thread| thread.status == Status::Absent) {
            state = run.changed.wait(state).unwrap();
        }
        state.choose(None);
        run.changed.notify_all();
        while state.threads.iter().any(|thread| thread.status != Status::Ended) {
            state = run.changed.wait(state).unwrap();
        }
        let order: Vec<usize> = state.choices.iter().map(|(chosen, _)| *chosen).collect();
        assert_eq!(state.failed, None, "in order {order:?}");
        choices = std::mem::take(&mut state.choices);
        drop(state);
        check();
        n_order += 1;
        // The next order differs at the last choice that has another way left.
        while choices.pop_if(|(chosen, n)| *chosen + 1 == *n).is_some() {}
        match choices.last_mut() {
            Some((chosen, _)) => *chosen += 1,
            None => return n_order,
        }
    }
}
