/**
 * What the installer does for an agent that it does not trust: a fixed list of steps, on images that it
 * has verified itself, from bytes that it keeps itself.
 */
import type { Fields } from '../../decode.ts';
import { readTarget } from '../../cycle/state.ts';
import { isOtaError, OtaError } from '../../errors.ts';
import type { MetadataSource } from '../../io/installers/separate/link.ts';
import {
  failureIn,
  failureMessage,
  messageIn,
  type Wire,
} from '../../io/installers/separate/wire.ts';
import type { Boot, Installer, Installers, OpenImage, Progress, Staging } from '../../ports.ts';
import type { Target, TrustedTarget } from '../../uptane/plan.ts';
import { trust } from '../../uptane/trust.ts';
import type { Verdicts } from './verdicts.ts';

export interface Parts {
  readonly verdicts: Verdicts;
  readonly installers: Installers;
  readonly staging: Staging;
  readonly boot: Pick<Boot, 'reboot'>;
}

/** Until the agent hangs up. */
export async function serveSteps(wire: Wire, parts: Parts): Promise<void> {
  for (;;) {
    const fields = await nextRequest(wire);
    if (fields === undefined) return;
    const talk = new Talk(wire);
    try {
      const answer = await perform(fields, parts, talk);
      await wire.send({ say: 'done', ...answer });
    } catch (error) {
      if (!isOtaError(error) || error.code === 'BUG') throw error;
      await wire.send(failureMessage(error)).catch(() => undefined);
    }
    // What the agent still sends of an image that is not wanted any more is no request.
    if (talk.isReceiving) return;
  }
}

/** Where nobody can tell any more where a frame begins there is no other one. */
async function nextRequest(wire: Wire): Promise<Fields | undefined> {
  try {
    const frame = await wire.receive();
    return frame === undefined ? undefined : messageIn(frame);
  } catch (error) {
    if (!isOtaError(error)) throw error;
    await wire.send(failureMessage(error)).catch(() => undefined);
    return undefined;
  }
}

async function perform(fields: Fields, parts: Parts, talk: Talk): Promise<object> {
  const ecu = fields.string('ecu');
  const step = fields.string('do');
  if (step === 'reboot') {
    await parts.boot.reboot();
    return {};
  }
  const installer = parts.installers.of(ecu);
  switch (step) {
    case 'describe':
      return { found: await installer.describe() };
    case 'noteGoodBoot':
      await installer.noteGoodBoot?.();
      return {};
    default:
      return performOn(installer, { step, told: toldIn(fields, ecu) }, parts, talk);
  }
}

/** One image for two ECUs would be verified for the one and installed on the other. */
function toldIn(fields: Fields, ecu: string): Target {
  const told = readTarget(fields.object('target'));
  if (told.ecu === ecu) return told;
  throw new OtaError('METADATA_MALFORMED', { path: fields.at('ecu'), want: 'that of the target' });
}

interface Asked {
  readonly step: string;
  readonly told: Target;
}

async function performOn(
  installer: Installer,
  { step, told }: Asked,
  { verdicts, staging }: Parts,
  talk: Talk,
): Promise<object> {
  const { kind } = installer;
  switch (step) {
    case 'check': {
      await verdicts.verify(talk.metadata);
      const target = await verdicts.demand(told, kind);
      await installer.check(target);
      if (installer.takes === 'staged') {
        // Those of other ECUs may be there already.
        await staging.sweep(await verdicts.accepted());
        await staging.demandSpace([target]);
      }
      return {};
    }
    case 'receive': {
      const target = await verdicts.demandOrVerify(told, kind, talk.metadata);
      const place = installer.takes === 'stream' ? installer : staging;
      await place.receive(target, talk.image, talk.progress);
      return {};
    }
    case 'prove':
      await prove(installer, await verdicts.demand(told, kind), staging, talk.progress);
      return {};
    case 'activate':
      await installer.activate(await verdicts.demand(told, kind));
      return {};
    default:
      return decide(installer, { step, told: trust(told) }, verdicts, staging);
  }
}

interface Decision {
  readonly step: string;
  /** As the agent has told: these steps bring nothing onto the device that was not there. */
  readonly told: TrustedTarget;
}

async function decide(
  installer: Installer,
  { step, told }: Decision,
  verdicts: Verdicts,
  staging: Staging,
): Promise<object> {
  switch (step) {
    case 'booted':
      return { booted: await installer.booted(told) };
    case 'confirm':
      await installer.confirm(told);
      if (await installer.booted(told)) await verdicts.confirmed(told);
      await staging.sweep([]);
      return {};
    case 'rollBack':
      await installer.rollBack(told);
      return {};
    default:
      throw new OtaError('METADATA_MALFORMED', { path: 'message.do', want: 'a step' });
  }
}

async function prove(
  installer: Installer,
  target: TrustedTarget,
  staging: Staging,
  progress: Progress,
): Promise<void> {
  if (installer.takes === 'stream') return installer.prove(target, progress);
  const path = await staging.receive(
    target,
    () => absent(installer.kind, target),
    () => undefined,
  );
  return installer.write(target, path, progress);
}

/** Of an image that has to be here already. */
function absent(installer: string, { ecu, filename }: Target): AsyncIterable<Uint8Array> {
  const cause = `${filename} was never received, or swept away since`;
  const failure = new OtaError('INSTALL_FAILED', { installer, ecu, cause });
  return { [Symbol.asyncIterator]: () => ({ next: () => Promise.reject(failure) }) };
}

/** How often the agent hears of progress: bytes are not worth a frame each. */
const PROGRESS_MS = 100;

/** What one step may ask of the agent. */
class Talk {
  readonly #wire: Wire;
  #toldMs = 0;
  /** An image is on its way that was not read to its end. */
  isReceiving = false;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  readonly metadata: MetadataSource = async (repo, file, maxBytes) => {
    await this.#wire.send({ say: 'metadata', repo, file, maxBytes });
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const frame = await this.#next();
      if (frame.kind === 'message') {
        return ended(frame.fields) === 'absent' ? undefined : Buffer.concat(parts);
      }
      bytes += frame.bytes.byteLength;
      if (bytes > maxBytes) throw new OtaError('METADATA_TOO_LARGE', { repo, file, maxBytes });
      parts.push(frame.bytes);
    }
  };

  readonly image: OpenImage = (offsetBytes) => this.#image(offsetBytes);

  readonly progress: Progress = (done, total) => {
    const now = performance.now();
    if (done < total && now - this.#toldMs < PROGRESS_MS) return;
    this.#toldMs = now;
    // Who hung up is noticed by what is read next.
    this.#wire.send({ say: 'progress', done, total }).catch(() => undefined);
  };

  async *#image(offsetBytes: number): AsyncGenerator<Uint8Array> {
    await this.#wire.send({ say: 'image', offsetBytes });
    this.isReceiving = true;
    for (;;) {
      const frame = await this.#next();
      if (frame.kind === 'bytes') yield frame.bytes;
      else {
        this.isReceiving = false;
        ended(frame.fields);
        return;
      }
    }
  }

  async #next(): Promise<NonNullable<Awaited<ReturnType<Wire['receive']>>>> {
    const frame = await this.#wire.receive();
    if (frame !== undefined) return frame;
    throw new OtaError('DOWNLOAD_FAILED', {
      filename: '',
      url: 'installer socket',
      cause: 'the agent hung up',
    });
  }
}

/** @throws OtaError what the agent could not do */
function ended(fields: Fields): 'end' | 'absent' {
  const said = fields.string('say');
  if (said === 'failed') throw failureIn(fields);
  return said === 'absent' ? said : 'end';
}
