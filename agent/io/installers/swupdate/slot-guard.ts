/**
 * What a .swu would write, read from its description before SWUpdate gets it: into the slot that
 * does not run, into nothing else, and not a word to the boot loader.
 *
 * SWUpdate writes where the description says, and takes what a selection lacks from the groups
 * around it. Scripts cannot be judged: they are trusted as their signer is.
 */
import { parseDescription, type Group, type Value } from './sw-description.ts';
import type { Selection } from './control-messages.ts';

/** One thing that is written. */
export interface SlotImage {
  readonly filename: string;
  readonly device: string;
  readonly type: string;
  /** Neither compressed nor encrypted, from the first byte on. */
  readonly asIs: boolean;
}

const WRITES = ['images', 'files', 'partitions'] as const;
const DEFAULT_TYPE = { images: 'raw', files: 'rawfile', partitions: 'partitions' } as const;
const BOOT = ['bootenv', 'uboot'] as const;
/** Others set the boot environment, partition disks or leave the device. */
const TYPES = ['raw', 'rawfile', 'archive', 'readback', 'rdiff_image', 'delta'];

/**
 * @param devices - what may be written
 * @throws Error saying what the description would do, and what to change in it
 */
export function slotImages(
  description: string,
  selection: Selection,
  devices: readonly string[],
): readonly SlotImage[] {
  const software = group(parseDescription(description).get('software'));
  if (software === undefined) throw new Error('sw-description has no group "software"');
  const boards = groups(software);
  const chosen = [software, ...boards].flatMap((board) => {
    const mode = group(group(board.get(selection.set))?.get(selection.mode));
    return mode === undefined ? [] : [mode];
  });
  if (chosen.length === 0) {
    const { set, mode } = selection;
    throw new Error(`sw-description has no software set ${set} with mode ${mode}`);
  }
  const images = [software, ...boards, ...chosen].flatMap((part) => imagesOf(part));
  for (const image of images) refuseElsewhere(image, devices, selection.mode);
  const [first = ''] = devices;
  if (images.some(({ device }) => device === first)) return images;
  throw new Error(`sw-description writes nothing to ${first} with mode ${selection.mode}`);
}

function refuseElsewhere(
  { device, filename, type }: SlotImage,
  devices: readonly string[],
  mode: string,
): void {
  if (!devices.includes(device)) {
    const where = device === '' ? 'into the running system' : `to ${device}`;
    throw new Error(
      `sw-description writes ${filename} ${where}, but mode ${mode} may write to ${devices.join(', ')} only`,
    );
  }
  if (TYPES.includes(type)) return;
  throw new Error(
    `sw-description has ${filename} of type ${type}, which the agent cannot judge: use one of ${TYPES.join(', ')}`,
  );
}

function imagesOf(part: Group): readonly SlotImage[] {
  for (const name of BOOT) {
    if (!part.has(name)) continue;
    throw new Error(
      `sw-description sets the boot environment (${name}): remove that, the agent does it when the image is proven`,
    );
  }
  for (const name of ['ref', 'embedded-script']) refuseHidden(part, name);
  return WRITES.flatMap((name) => {
    const list = part.get(name) ?? [];
    if (!Array.isArray(list)) throw new Error(`sw-description: ${name} is not a list`);
    return list.map((item: Value) => imageOf(name, item));
  });
}

function imageOf(section: keyof typeof DEFAULT_TYPE, item: Value): SlotImage {
  const found = group(item);
  if (found === undefined) throw new Error(`sw-description: ${section} has more than groups`);
  refuseHidden(found, 'ref');
  return {
    filename: text(found, 'filename') ?? text(found, 'volume') ?? section,
    device: text(found, 'device') ?? '',
    type: text(found, 'type') ?? DEFAULT_TYPE[section],
    asIs: !['offset', 'compressed', 'encrypted'].some((name) => found.has(name)),
  };
}

/** What only SWUpdate resolves or runs may change where it writes. */
function refuseHidden(part: Group, name: string): void {
  if (!part.has(name)) return;
  throw new Error(`sw-description uses "${name}": write out what each mode writes, and where`);
}

function group(value: Value | undefined): Group | undefined {
  return value instanceof Map ? (value as Group) : undefined;
}

function groups(part: Group): readonly Group[] {
  return [...part.values()].flatMap((value) => group(value) ?? []);
}

function text(part: Group, name: string): string | undefined {
  const value = part.get(name);
  return typeof value === 'string' ? value : undefined;
}
