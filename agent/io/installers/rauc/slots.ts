/** What RAUC says of its slots, and what follows from it. Pure. */

/** One slot, as `GetSlotStatus` describes it. */
export interface Slot {
  readonly name: string;
  readonly class: string;
  /** `booted`, `active` (belongs to what booted) or `inactive`. */
  readonly state: string;
  /** Absent for slots that do not boot by themselves. */
  readonly bootname: string | undefined;
  /** The slot that boots this one with it. */
  readonly parent: string | undefined;
  readonly device: string;
  /** What the boot loader's backend says; absent for slots that do not boot. */
  readonly bootStatus: string | undefined;
  /** How the last installation ended, as far as RAUC has noted it. */
  readonly status: string | undefined;
  readonly installedCount: number;
  readonly installedAt: string | undefined;
}

/** The slots of a device, from where it stands: one booted, others that an update may go to. */
export interface Slots {
  readonly all: readonly Slot[];
  readonly booted: Slot;
  /** That can boot instead; never empty. */
  readonly others: readonly Slot[];
}

/**
 * @param answer - of `GetSlotStatus`
 * @throws Error if no update is possible with these slots
 */
export function readSlots(answer: unknown): Slots {
  const all = Array.isArray(answer) ? answer.map(readSlot) : [];
  const booted = all.find(({ state }) => state === 'booted');
  if (booted === undefined) {
    throw new Error(
      'RAUC finds no slot that booted: the boot loader has to name it, as rauc.slot=… or root=… on the kernel command line',
    );
  }
  const others = all.filter(
    (slot) =>
      slot.bootname !== undefined && slot.class === booted.class && slot.name !== booted.name,
  );
  if (others.length === 0) {
    throw new Error(`there is no slot beside ${booted.name} that boots: system.conf needs two`);
  }
  return { all, booted, others };
}

function readSlot(entry: unknown): Slot {
  const [name, fields] = Array.isArray(entry) ? (entry as readonly unknown[]) : [];
  if (typeof name !== 'string' || !(fields instanceof Map)) {
    throw new Error(`RAUC describes a slot in a way that is not known: ${JSON.stringify(entry)}`);
  }
  const text = (key: string): string | undefined => {
    const value: unknown = fields.get(key);
    return typeof value === 'string' && value !== '' ? value : undefined;
  };
  return {
    name,
    class: text('class') ?? '',
    state: text('state') ?? '',
    bootname: text('bootname'),
    parent: text('parent'),
    device: text('device') ?? '',
    bootStatus: text('boot-status'),
    status: text('status'),
    installedCount: Number(fields.get('installed.count') ?? 0),
    installedAt: text('installed.timestamp'),
  };
}

/** A slot and all that boot with it. */
function groupOf(root: Slot, all: readonly Slot[]): readonly Slot[] {
  const children = all.filter(({ parent }) => parent === root.name);
  return [root, ...children.flatMap((child) => groupOf(child, all))];
}

/** Which installation a group comes from: another one, by whomever, has another stamp. */
export function stampOf(root: Slot, all: readonly Slot[]): string {
  return groupOf(root, all)
    .map(({ name, installedCount, installedAt }) =>
      [name, String(installedCount), installedAt ?? 'never'].join(' '),
    )
    .join(', ');
}

/** The stamps of all slots that could boot. */
export function stampsOf({ all, booted, others }: Slots): Readonly<Record<string, string>> {
  return Object.fromEntries([booted, ...others].map((root) => [root.name, stampOf(root, all)]));
}

/**
 * Where an installation has gone.
 *
 * @throws Error if that is none, or not exactly one slot that boots
 */
export function writtenSlot(before: Slots, after: Slots): Slot {
  const written = after.others.filter((root) => installations(root, before, after) > 0);
  const [root] = written;
  if (root === undefined || written.length > 1) {
    throw new Error(
      `RAUC says it has installed, but has noted that for ${String(written.length)} slots that boot: the bundle needs an image of class ${after.booted.class}, and system.conf needs statusfile=… (or data-directory=…) and no install-same=false`,
    );
  }
  if (installations(root, before, after) > 1) {
    throw new Error(`somebody else has installed to ${root.name} at the same time`);
  }
  const bad = groupOf(root, after.all).find(
    ({ status }) => status !== undefined && status !== 'ok',
  );
  if (bad !== undefined) throw new Error(`RAUC says ${String(bad.status)} of slot ${bad.name}`);
  return root;
}

/** The most that any slot of the group was installed to in between. */
function installations(root: Slot, before: Slots, after: Slots): number {
  const counts = new Map(before.all.map(({ name, installedCount }) => [name, installedCount]));
  const grown = groupOf(root, after.all).map(
    ({ name, installedCount }) => installedCount - (counts.get(name) ?? 0),
  );
  return Math.max(...grown);
}
