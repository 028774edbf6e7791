/** `ota-agent anchor`: what the token remembers of this storage, and a person's word against it. */
import { assembleLocal } from '../assemble.ts';
import { openSealing } from '../sealing.ts';
import { acceptDisk } from '../cycle/accept-disk.ts';
import { look, type SealingPorts, type View } from '../cycle/seal.ts';
import { OtaError } from '../errors.ts';
import type { Seal } from '../uptane/seal.ts';
import { sealedAs } from '../uptane/standing.ts';
import { formatInstant } from '../uptane/time.ts';
import type { CommandContext } from './context.ts';
import type { CommandResult } from './result.ts';

/** @throws OtaError USAGE, TOKEN_*, STORAGE_*; NOT_PROVISIONED if the storage holds no roots */
export async function anchorCommand(context: CommandContext): Promise<CommandResult> {
  const [action = 'show', ...more] = context.rest;
  if ((action !== 'show' && action !== 'accept') || more.length > 0) {
    const what = `anchor does not take ${context.rest.join(' ')}`;
    throw new OtaError('USAGE', { what, remedy: 'ota-agent anchor show, or anchor accept' });
  }
  const { loaded, log } = context;
  const local = await assembleLocal(loaded, log);
  try {
    await demandRoots(local.store);
    const sealing = await openSealing(loaded.settings, local, log);
    try {
      if (action === 'show') return shown(await look(sealing.ports));
      return await accept(sealing.ports, context);
    } finally {
      sealing.close();
    }
  } finally {
    await local.close();
  }
}

async function accept(ports: SealingPorts, { log }: CommandContext): Promise<CommandResult> {
  const before = await acceptDisk(ports);
  const is = before?.standing.is;
  if (before === undefined || (is !== 'behind' && is !== 'foreign')) return shown(before);
  const after = await look(ports);
  if (after?.standing.is !== 'current') {
    const { failed } = await ports.store.binding();
    const cause = failed?.cause ?? 'see the log';
    throw new OtaError('TOKEN_FAILED', { operation: 'store the seal', cause });
  }
  const warning =
    is === 'behind'
      ? 'an older storage was accepted: what was sealed after it can be taken back from now on'
      : 'another token was accepted for this storage';
  log.warn(warning);
  const { json, lines } = shown(after);
  return {
    exit: 0,
    json: { ...json, outcome: 'accepted', before: viewJson(before) },
    lines: [`WARNING: ${warning}`, ...lines],
  };
}

async function demandRoots(store: SealingPorts['store']): Promise<void> {
  const trusted = await store.loadTrusted();
  if (trusted.has('director/root') && trusted.has('image/root')) return;
  throw new OtaError('NOT_PROVISIONED', {
    missing: 'root metadata',
    remedy: 'run ota-agent provision',
  });
}

function shown(view: View | undefined): CommandResult {
  if (view === undefined) {
    return {
      exit: 0,
      json: { standing: 'off' },
      lines: ['token.anchor is off: nothing is sealed'],
    };
  }
  const { standing } = view;
  return { exit: 0, json: viewJson(view), lines: lines(view, describe(standing)) };
}

function describe(standing: View['standing']): string {
  switch (standing.is) {
    case 'unsealed':
      return 'nothing is sealed yet';
    case 'current':
      return 'the storage is as new as the seal, or newer';
    case 'behind':
      return `the storage is OLDER than the seal: ${standing.what} is ${standing.found}, sealed ${standing.sealed}`;
    case 'foreign':
      return `token and storage do not belong together: ${standing.problem}`;
  }
}

function viewJson({ standing, seal, binding, disk }: View): object {
  const { is, ...facts } = standing;
  const { stateId = '', sequence } = binding;
  const found = sealedAs({ stateId, sequence, reports: 0 }, disk);
  return {
    standing: is,
    ...facts,
    sealed: seal === undefined ? null : sealJson(seal),
    found: { ...sealJson(found), reports: null },
  };
}

function sealJson(seal: Seal): object {
  const { stateId, sequence, reports, latestKnownTime, versions, roots, releases } = seal;
  return {
    stateId,
    sequence,
    reports,
    latestKnownTime: formatInstant(latestKnownTime),
    versions: Object.fromEntries(versions),
    roots: Object.fromEntries(roots),
    releases: Object.fromEntries(releases),
  };
}

/** One fact a line: sealed, found. */
function lines({ seal, binding, disk }: View, first: string): readonly string[] {
  const found = sealedAs(
    { stateId: binding.stateId ?? '-', sequence: binding.sequence, reports: 0 },
    disk,
  );
  const names = new Set([...(seal?.versions.keys() ?? []), ...found.versions.keys()]);
  const row = (name: string, sealed: string | number = '-', on: string | number = '-'): string =>
    `  ${name.padEnd(24)} sealed ${String(sealed)}, found ${String(on)}`;
  return [
    first,
    row('storage', seal?.stateId, found.stateId),
    row('sequence', seal?.sequence, found.sequence),
    ...[...names].map((name) => row(name, seal?.versions.get(name), found.versions.get(name))),
    row(
      'latest known time',
      seal && formatInstant(seal.latestKnownTime),
      formatInstant(found.latestKnownTime),
    ),
    `  report counters up to ${String(seal?.reports ?? '-')} are sealed`,
  ];
}
