//! Random operations on two files, compared with plain vectors after each of them; crashes and failures of the server in between.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Write { file: u8, at: u64, len: usize },
    Append { file: u8, len: usize },
    SetLen { file: u8, len: u64 },
    Punch { file: u8, at: u64, len: u64, keep: bool },
    Allocate { file: u8, at: u64, len: u64, keep: bool },
    Clone { from: u8, at: u64, len: u64, to: u64 },
    Read { file: u8, at: u64, len: usize },
    Seek { file: u8, at: u64 },
    Commit { file: u8, behaviour: Behaviour },
    CommitAll,
    Sync,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (file, at, len) = (1..3_u8, 0..400_u64, 1..150_usize);
    let behaviour = prop_oneof![
        4 => Just(Behaviour::Works),
        1 => Just(Behaviour::LosesAnswers),
        1 => Just(Behaviour::Refuses)
    ];
    let long = 1..150_u64;
    let step = prop_oneof![
        6 => (file.clone(), at.clone(), len.clone()).prop_map(|(file, at, len)| Step::Write { file, at, len }),
        2 => (file.clone(), len.clone()).prop_map(|(file, len)| Step::Append { file, len }),
        3 => (file.clone(), at.clone()).prop_map(|(file, len)| Step::SetLen { file, len }),
        3 => (file.clone(), at.clone(), long.clone(), any::<bool>())
            .prop_map(|(file, at, len, keep)| Step::Punch { file, at, len, keep }),
        1 => (file.clone(), at.clone(), long.clone(), any::<bool>())
            .prop_map(|(file, at, len, keep)| Step::Allocate { file, at, len, keep }),
        2 => (file.clone(), at.clone(), long, at.clone()).prop_map(|(from, at, len, to)| Step::Clone { from, at, len, to }),
        2 => (file.clone(), at.clone(), len).prop_map(|(file, at, len)| Step::Read { file, at, len }),
        2 => (file.clone(), at).prop_map(|(file, at)| Step::Seek { file, at }),
        3 => (file, behaviour).prop_map(|(file, behaviour)| Step::Commit { file, behaviour }),
        1 => Just(Step::CommitAll),
        1 => Just(Step::Sync),
        2 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..60)
}

type Cells = Vec<Option<u8>>;

fn put(cells: &mut Cells, at: usize, bytes: impl Iterator<Item = Option<u8>>) {
    for (place, byte) in (at..).zip(bytes) {
        if cells.len() <= place {
            cells.resize(place + 1, None);
        }
        cells[place] = byte;
    }
}

fn plain(cells: &[Option<u8>]) -> Vec<u8> {
    cells.iter().map(|cell| cell.unwrap_or_default()).collect()
}

fn index(at: u64) -> usize {
    usize::try_from(at).unwrap()
}

struct World {
    remote: Arc<MemoryRemote>,
    options: StoreOptions,
    mount: Option<Mount>,
    models: [Cells; 2],
}

impl World {
    fn content(&self, number: u8) -> Arc<Content> {
        let facts = InodeFacts { version: self.remote.newest_number(file(number)), size: 0, ..facts(number) };
        self.mount.as_ref().unwrap().store.content_of(file(number), facts)
    }

    fn model(&mut self, number: u8) -> &mut Cells {
        &mut self.models[usize::from(number) - 1]
    }

    async fn crash(&mut self) {
        let mount = self.mount.take().unwrap();
        mount.store.abandon();
        drop(mount);
        let (mount, recovered) = open(&self.remote, &self.options).await;
        assert!(recovered.damaged.is_empty());
        // Contents with changes are found, whoever asks for them.
        mount.store.resume(BUCKET).unwrap();
        self.mount = Some(mount);
    }

    async fn step(&mut self, step: Step, byte: u8) {
        match step {
            Step::Write { file, at, len } => {
                self.content(file).write(at, Bytes::from(vec![byte; len])).await.unwrap();
                put(self.model(file), index(at), std::iter::repeat_n(Some(byte), len));
            }
            Step::Append { file, len } => {
                let end = self.model(file).len();
                let at = self.content(file).append(Bytes::from(vec![byte; len])).await.unwrap().start;
                assert_eq!(index(at), end);
                put(self.model(file), end, std::iter::repeat_n(Some(byte), len));
            }
            Step::SetLen { file, len } => {
                self.content(file).set_len(len).await.unwrap();
                self.model(file).resize(index(len), None);
            }
            Step::Punch { file, at, len, keep } => {
                self.content(file).punch(at..at + len, keep).await.unwrap();
                let model = self.model(file);
                if !keep && model.len() < index(at + len) {
                    model.resize(index(at + len), None);
                }
                let end = model.len().min(index(at + len));
                if index(at) < end {
                    model[index(at)..end].fill(None);
                }
            }
            Step::Allocate { file, at, len, keep } => {
                self.content(file).allocate(at..at + len, keep).await.unwrap();
                let model = self.model(file);
                if !keep && model.len() < index(at + len) {
                    model.resize(index(at + len), None);
                }
            }
            Step::Clone { from, at, len, to } => {
                let other = 3 - from;
                let source = self.model(from).clone();
                let range = source.get(index(at)..).unwrap_or_default();
                let range = &range[..range.len().min(index(len))];
                let cloned = self.content(other).clone_range(&self.content(from), at..at + len, to).await.unwrap();
                assert_eq!(index(cloned), range.len());
                put(self.model(other), index(to), range.iter().copied());
            }
            Step::Read { file, at, len } => {
                let read = self.content(file).read(at, len).await.unwrap();
                let model = plain(self.model(file));
                let expected = model.get(index(at)..).unwrap_or_default();
                assert_eq!(read, expected[..expected.len().min(len)]);
            }
            Step::Seek { file, at } => {
                let content = self.content(file);
                let model = self.model(file);
                let from = |wanted: fn(&Option<u8>) -> bool, model: &Cells| {
                    model.get(index(at)..).and_then(|rest| rest.iter().position(wanted)).map(|found| at + found as u64)
                };
                let data = content.seek(at, Seek::Data).await.ok();
                assert_eq!(data, from(Option::is_some, model));
                let hole = content.seek(at, Seek::Hole).await.ok();
                let end = (index(at) < model.len()).then_some(model.len() as u64);
                assert_eq!(hole, from(Option::is_none, model).or(end));
            }
            Step::Commit { file: number, behaviour } => {
                self.remote.behave(behaviour);
                let content = self.content(number);
                let dirty = content.is_dirty();
                let result = content.commit().await;
                if behaviour == Behaviour::Works {
                    result.unwrap();
                    assert!(!content.is_dirty());
                    assert_eq!(&self.remote.cells(file(number)), self.model(number));
                } else if dirty && behaviour == Behaviour::Refuses {
                    assert!(result.is_err() && content.is_dirty());
                }
                self.remote.behave(Behaviour::Works);
            }
            Step::CommitAll => {
                let store = self.mount.as_ref().unwrap().store.clone();
                store.commit_all(None).await.unwrap();
                assert!(store.dirty().is_empty());
            }
            Step::Sync => self.content(1).sync_local().await.unwrap(),
            Step::Crash => self.crash().await,
        }
    }

    async fn check(&mut self) {
        // What is sent ahead gets its turn.
        for _ in 0..4 {
            tokio::task::yield_now().await;
        }
        for number in 1..3 {
            let content = self.content(number);
            assert_eq!(content.read(0, 1 << 20).await.unwrap(), plain(self.model(number)), "file {number}");
            assert_eq!(content.len(), self.model(number).len() as u64);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn contents_are_what_a_vector_of_bytes_is(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let (remote, options) = (Arc::new(MemoryRemote::default()), quiet(folder.path()));
            let (mount, _) = open(&remote, &options).await;
            let mut world = World { remote, options, mount: Some(mount), models: [Vec::new(), Vec::new()] };
            for (number, step) in steps.into_iter().enumerate() {
                world.step(step, u8::try_from(number % 250).unwrap() + 1).await;
                world.check().await;
            }
            world.crash().await;
            world.check().await;
            world.step(Step::CommitAll, 0).await;
            for number in 1..3 {
                prop_assert_eq!(&world.remote.cells(file(number)), world.model(number));
            }
            Ok(())
        })?;
    }

    /// Whatever a power cut leaves of what was not promised: what was promised is there, and nothing that never was.
    #[test]
    fn what_was_synced_survives_a_power_cut(
        writes in prop::collection::vec((0..300_u64, 1..100_usize), 2..12),
        synced in 0..12_usize,
        cut in 0..10_000_u64,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let options = StoreOptions {
                journal: Limits { file: 1 << 20, ..quiet(folder.path()).journal },
                ..quiet(folder.path())
            };
            let remote = Arc::new(MemoryRemote::default());
            let (mount, _) = open(&remote, &options).await;
            let content = mount.store.content_of(file(1), facts(1));
            let (mut states, mut promised, mut model) = (vec![Vec::new()], (0, 0), Vec::new());
            for (number, (at, len)) in writes.iter().enumerate() {
                let byte = u8::try_from(number).unwrap() + 1;
                content.write(*at, Bytes::from(vec![byte; *len])).await.unwrap();
                put(&mut model, index(*at), std::iter::repeat_n(Some(byte), *len));
                states.push(plain(&model));
                if number == synced {
                    content.sync_local().await.unwrap();
                    promised = (number + 1, mount.store.journal().used());
                }
            }
            drop(content);
            mount.store.abandon();
            drop(mount);
            let path = folder.path().join("journal/0000000000000001.journal");
            let whole = std::fs::metadata(&path).unwrap().len();
            let kept = promised.1 + cut % (whole - promised.1 + 1);
            std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(kept).unwrap();
            let (mount, _) = open(&remote, &options).await;
            let found = match mount.store.resume(BUCKET).unwrap().pop() {
                Some(content) => all(&content).await,
                None => Vec::new(),
            };
            let which = states.iter().position(|state| *state == found);
            prop_assert!(which.is_some_and(|which| which >= promised.0), "{which:?} of {promised:?}");
            Ok(())
        })?;
    }
}
