/** Commands in `sh` blocks of documents, and why no test types them as they stand. */
export interface Untyped {
  readonly document: string;
  readonly commands: readonly string[];
  readonly why: string;
  /** The test that runs the same program, with less to do. */
  readonly by?: string;
}

export const UNTYPED: readonly Untyped[] = [
  {
    document: 'README.md',
    commands: ['npm start'],
    why: 'packs a root file system of Debian packages: a minute. The same program is typed with --image',
  },
  { document: 'README.md', commands: ['npm test'], why: 'is what types the others' },
  {
    document: 'test/fleet/README.md',
    commands: [
      'npm run fleet -- --devices 500 --compress 30',
      'npm run fleet -- --devices 1000 --compress 10 --rollout-at 2 --soak 1 --phases 10,100 --outage-at 36 --after 2 --fail-on board-c=10 --token-devices 20',
      'npm run fleet -- --devices 10000 --servers 2 --compress 5 --rollout-at 2 --soak 2 --phases 1,50,100 --outage-at 42 --after 12 --fail-on board-c=10 --token-devices 100',
    ],
    why: 'minutes to hours of a fleet',
    by: 'test/fleet/fleet.test.ts',
  },
  {
    document: 'test/fuzz/README.md',
    commands: [
      'npm run fuzz -- --seconds 3600',
      'npm run fuzz -- --target ta-commands --inputs 100000',
      'npm run fuzz -- --target ta-commands --replay FILE',
      'npm run fuzz -- --keep DIR; npm run fuzz -- --merge DIR',
      'test/tee/build/fuzz/wire-answer-libfuzzer -max_total_time=600 test/fuzz/corpus/wire-answer',
    ],
    why: 'hours, or an input that was found',
    by: 'test/fuzz/fuzz.test.ts',
  },
  {
    document: 'test/mutation/README.md',
    commands: ['npm run mutation', 'npm run mutation:table'],
    why: 'hours, and a table of what they found',
  },
  {
    document: 'test/tee/normal-world/README.md',
    commands: [
      'make -C test/tee/normal-world DEBUG=1',
      'make -C test/tee/normal-world SANITIZE=1',
      'make -C test/tee/normal-world test-drivers',
      'make -C test/tee/normal-world bench',
      'make -C test/tee/normal-world CC=aarch64-linux-gnu-gcc BUILD=/somewhere/else',
    ],
    why: 'made by the tests and programs that need them',
    by: 'test/integration/support-tee-drivers.ts',
  },
];
