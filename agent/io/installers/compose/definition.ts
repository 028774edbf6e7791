/**
 * A compose file of which every image is named by digest.
 *
 * The engine is given what was understood here, as JSON, and not the text: two readers of YAML may
 * make two things of one text, and one of them would run what the other has not checked.
 */
import { parse } from 'yaml';

export interface Definition {
  /** Image by service: `NAME@sha256:HEX`. */
  readonly images: ReadonlyMap<string, string>;
  /** The compose file for the engine. */
  readonly text: string;
}

const MAX_CHARACTERS = 1024 * 1024;
const IMAGE =
  /^(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?\/)?[a-z0-9]+(?:[._/-]+[a-z0-9]+)*@sha256:[0-9a-f]{64}$/u;
/** They would bring in what is not in this file, or what has no digest. */
const REFUSED_OF_SERVICES = ['build', 'extends'];

/** @throws Error naming the service and what is wrong with it */
export function parseDefinition(text: string): Definition {
  if (text.length > MAX_CHARACTERS) throw new Error('the compose file is larger than 1 MiB');
  const file = object(parseYaml(text), 'the compose file');
  if ('include' in file) throw new Error('the compose file has "include": put all into one file');
  const images = new Map<string, string>();
  for (const [service, value] of Object.entries(object(file['services'], 'services'))) {
    images.set(service, imageOf(service, object(value, `service ${service}`)));
  }
  if (images.size === 0) throw new Error('the compose file has no services');
  return { images, text: `${JSON.stringify(file)}\n` };
}

/** `NAME`, `HEX`. */
export function splitImage(image: string): readonly [name: string, hex: string] {
  const [name = '', hex = ''] = image.split('@sha256:');
  return [name, hex];
}

function imageOf(service: string, definition: Readonly<Record<string, unknown>>): string {
  for (const key of REFUSED_OF_SERVICES) {
    if (key in definition) {
      throw new Error(`service ${service} has "${key}": name a built image by its digest`);
    }
  }
  const { image } = definition;
  if (typeof image === 'string' && IMAGE.test(image)) return image;
  const found = JSON.stringify(image ?? 'nothing').slice(0, 200);
  throw new Error(`service ${service} has image ${found}, want NAME@sha256:DIGEST and no tag`);
}

function parseYaml(text: string): unknown {
  try {
    return parse(text, { uniqueKeys: true, maxAliasCount: 0, version: '1.2', merge: false });
  } catch (error) {
    const problem = error instanceof Error ? (error.message.split('\n')[0] ?? '') : '';
    throw new Error(`the compose file cannot be read: ${problem}`, { cause: error });
  }
}

function object(value: unknown, what: string): Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return value as Readonly<Record<string, unknown>>;
  }
  throw new Error(`${what} is no mapping of names`);
}
