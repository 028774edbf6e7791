/**
 * Every point at which a crash test can kill the agent: calls of ports, and transitions of the cycle.
 *
 * In a run a name has the number of its occurrence behind it, `store.saveState#3`, and installers have
 * their ECU, `installer/primary-1.activate#1`. The compiler demands that no method of a port is missing.
 */
import type { Installer, Ports } from '../../agent/ports.ts';
import type { CUT_PORTS } from '../support/cut-ports.ts';

type Methods<T> = {
  [K in keyof T as NonNullable<T[K]> extends (...args: never[]) => unknown ? K : never]: true;
};
type Cuttable = (typeof CUT_PORTS)[number];
type StagedOrStreamed = Installer extends infer I
  ? I extends unknown
    ? keyof Methods<I>
    : never
  : never;

export const PORT_CALLS: { readonly [P in Cuttable]: Methods<NonNullable<Ports[P]>> } = {
  repositories: { fetchMetadata: true, openImage: true, distrust: true },
  director: { putManifest: true, postEvents: true },
  signer: { sign: true },
  anchor: { records: true, replace: true },
  store: {
    loadState: true,
    saveState: true,
    finish: true,
    loadTrusted: true,
    keep: true,
    inventory: true,
    intendRollBack: true,
    rollBackIntended: true,
    restorePrevious: true,
    postponeReport: true,
    postponedReports: true,
    dropPostponedReport: true,
    superseded: true,
    lastUpdated: true,
    history: true,
    failedPlan: true,
    failedImages: true,
    waiting: true,
    saveWaiting: true,
    refusal: true,
    saveRefusal: true,
    unreportedAttacks: true,
    noteAttack: true,
    attacksReported: true,
    nextReport: true,
    latestKnownTime: true,
    raiseLatestKnownTime: true,
    releaseCounters: true,
    binding: true,
    saveBinding: true,
    catchUp: true,
    queueEvent: true,
    queuedEvents: true,
    dropEvents: true,
  },
  staging: { receive: true, demandSpace: true, sweep: true },
  health: { check: true },
  boot: { uptimeMs: true, reboot: true },
};

export const INSTALLER_CALLS: Readonly<Record<StagedOrStreamed, true>> = {
  check: true,
  write: true,
  receive: true,
  prove: true,
  activate: true,
  booted: true,
  confirm: true,
  rollBack: true,
  noteGoodBoot: true,
  describe: true,
};

/** `transition.FROM>TO`; a state that is counted anew is one, too. */
export const TRANSITIONS: ReadonlySet<string> = new Set([
  'idle>downloading',
  'idle>holding',
  'downloading>holding',
  'holding>downloading',
  'holding>writing',
  'holding>idle',
  'holding>reporting',
  'downloading>writing',
  'downloading>downloading',
  'downloading>idle',
  'downloading>paused',
  'downloading>reporting',
  'paused>downloading',
  'paused>idle',
  'paused>reporting',
  'writing>writing',
  'writing>activating',
  'writing>rolling-back',
  'activating>activating',
  'activating>awaiting-boot',
  'activating>confirming',
  'activating>rolling-back',
  'awaiting-boot>confirming',
  'awaiting-boot>rolling-back',
  'confirming>confirming',
  'confirming>reporting',
  'confirming>rolling-back',
  'rolling-back>rolling-back',
  'rolling-back>returning',
  'rolling-back>reporting',
  'returning>rolling-back',
  'returning>reporting',
  'reporting>idle',
]);
