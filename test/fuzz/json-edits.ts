/** Changes to JSON texts that leave them JSON texts. */
import { mutateBytes } from './mutate.ts';
import type { Random } from './random.ts';

type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
type Container = Json[] | Record<string, Json>;
interface Place {
  readonly container: Container;
  readonly key: string;
}

/** What readers are known to take for something else, or to choke on. */
const VALUES: readonly Json[] = [
  null,
  true,
  0,
  -1,
  1,
  2,
  1.5,
  2 ** 53 - 1,
  2 ** 53,
  '',
  '*',
  '**/*',
  '[',
  '../..',
  'é',
  '\u{1f600}',
  '\n\u0000\u001f',
  '\\"/',
  'targets',
  'root',
  'ed25519',
  'rsa',
  'ecdsa',
  'ml-dsa',
  '2037-12-31T23:59:59Z',
  '1970-01-01T00:00:00Z',
  '2026-02-30T00:00:00Z',
  '00'.repeat(32),
  [],
  {},
  [[]],
];
const NAMES = ['', '__proto__', 'constructor', '10', 'é', '\n', 'root.json', 'targets.json'];

/** Every third time bytes instead, and always where there is no JSON to change. */
export function mutateJson(input: Uint8Array, random: Random, other: Uint8Array): Uint8Array {
  if (random.oneIn(3)) return mutateBytes(input, random, other);
  const edited = editJson(input, random, other);
  return edited ?? mutateBytes(input, random, other);
}

/** @returns `undefined` for what is no object or array */
export function editJson(
  input: Uint8Array,
  random: Random,
  other: Uint8Array,
): Uint8Array | undefined {
  const root = parsed(input);
  if (typeof root !== 'object' || root === null) return undefined;
  for (let edits = 1 + random.below(3); edits > 0; edits -= 1) editOnce(root, random, other);
  return Buffer.from(JSON.stringify(root, undefined, random.oneIn(8) ? 1 : undefined));
}

function editOnce(root: Container, random: Random, other: Uint8Array): void {
  const places = [...placesIn(root)];
  if (places.length === 0) return;
  const { container, key } = random.pick(places);
  switch (random.below(7)) {
    case 0:
      if (Array.isArray(container)) container.splice(Number(key), 1);
      else Reflect.deleteProperty(container, key);
      return;
    case 1:
      add(container, random.pick(NAMES), read({ container, key }));
      return;
    case 2:
      put({ container, key }, read(random.pick(places)));
      return;
    case 3: {
      const donor = parsed(other);
      const others = isContainer(donor) ? [...placesIn(donor)] : [];
      if (others.length > 0) put({ container, key }, read(random.pick(others)));
      return;
    }
    case 4:
      put({ container, key }, spoiled(read({ container, key }), random));
      return;
    default:
      put({ container, key }, random.pick(VALUES));
  }
}

/** Close to what it was. */
function spoiled(value: Json, random: Random): Json {
  if (typeof value === 'number') return value + random.below(5) - 2;
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'string') {
    const at = random.below(value.length);
    const put = String.fromCharCode(random.oneIn(8) ? random.below(0xd800) : random.below(128));
    return value.slice(0, at) + put + value.slice(at + random.below(2));
  }
  return [value];
}

function* placesIn(container: Container): Generator<Place> {
  for (const key of Object.keys(container)) {
    yield { container, key };
    const value = read({ container, key });
    if (isContainer(value)) yield* placesIn(value);
  }
}

function isContainer(value: Json | undefined): value is Container {
  return typeof value === 'object' && value !== null;
}

function read({ container, key }: Place): Json {
  return (container as Record<string, Json>)[key] ?? null;
}

/** A copy, so that nothing contains itself. */
function put({ container, key }: Place, value: Json): void {
  define(container, key, structuredClone(value));
}

function add(container: Container, name: string, value: Json): void {
  if (Array.isArray(container)) container.push(structuredClone(value));
  else define(container, name, structuredClone(value));
}

/** `__proto__` is a name like others. */
function define(container: Container, key: string, value: Json): void {
  const more = { configurable: true, enumerable: true, writable: true };
  Object.defineProperty(container, key, { value, ...more });
}

function parsed(input: Uint8Array): Json | undefined {
  try {
    return JSON.parse(Buffer.from(input).toString()) as Json;
  } catch {
    return undefined;
  }
}
