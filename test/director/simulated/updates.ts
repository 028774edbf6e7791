/** A device that polls, and does what it is told. */
import { isMap, type Json, type JsonMap } from '../json/canonical-json.ts';
import type { SimulatedDevice } from './device.ts';
import type { ReportedImage } from './ecus.ts';

/** What a poll came to. `refused`: not 200, so that it is to be tried again. */
export type Polled = 'idle' | 'succeeded' | 'failed' | 'refused';

/** Whether an image works on a device. */
export type Verdict = (image: ReportedImage) => boolean;

interface Assigned {
  readonly image?: ReportedImage;
  readonly correlationId: string;
  readonly cipherText?: string;
}

export class SimulatedUpdates {
  readonly device: SimulatedDevice;
  /** Correlation ids it began an update under, in order. */
  readonly begun: string[] = [];
  /** SHA-256 of the cipher texts that it was given for them, where they were encrypted. */
  readonly cipherTexts: string[] = [];
  /** Counters of manifests that were answered 200. */
  readonly accepted: number[] = [];
  #connection: SimulatedDevice;
  #counter = 0;
  #installed: ReportedImage | undefined;
  #report: JsonMap | undefined;

  constructor(device: SimulatedDevice) {
    this.device = device;
    this.#connection = device;
  }

  /** From now on over another connection, perhaps to another server. */
  over(connection: SimulatedDevice): void {
    this.#connection = connection;
  }

  /** One cycle as an agent does it: manifest, targets, and if there is something new, a report. */
  async poll(works: Verdict): Promise<Polled> {
    if (!(await this.#send())) return 'refused';
    const assigned = await this.#assigned();
    if (assigned === undefined) return 'refused';
    const { image, correlationId, cipherText } = assigned;
    if (image === undefined || image.sha256 === this.#installed?.sha256) return 'idle';
    this.begun.push(correlationId);
    if (cipherText !== undefined) this.cipherTexts.push(cipherText);
    const isGood = works(image);
    if (isGood) this.#installed = image;
    const code = isGood ? 'OK' : 'INSTALL_FAILED';
    const description = isGood ? 'it runs' : 'the health check failed';
    const result = { code, description, success: isGood };
    this.#report = { correlation_id: correlationId, items: [], raw_report: '', result };
    return (await this.#send()) ? (isGood ? 'succeeded' : 'failed') : 'refused';
  }

  async #send(): Promise<boolean> {
    this.#counter += 1;
    const [primary] = this.device.ecus;
    const installed = this.#installed;
    const answer = await this.#connection.sendManifest({
      counter: this.#counter,
      ...(installed === undefined ? {} : { installed: { [primary?.serial ?? '']: installed } }),
      ...(this.#report === undefined ? {} : { installationReport: this.#report }),
    });
    if (answer.status !== 200) return false;
    this.accepted.push(this.#counter);
    this.#report = undefined;
    return true;
  }

  async #assigned(): Promise<Assigned | undefined> {
    const answer = await this.#connection.get('/director/targets.json');
    if (answer.status !== 200) return undefined;
    const { signed } = answer.json as {
      readonly signed: {
        readonly custom: { readonly correlationId?: string };
        readonly targets: JsonMap;
      };
    };
    const correlationId = signed.custom.correlationId ?? '';
    const [entry] = Object.entries(signed.targets);
    if (entry === undefined) return { correlationId };
    const [filename, target] = entry;
    const lengthBytes = isMap(target) ? Number(target['length']) : 0;
    const image = { filename, lengthBytes, sha256: sha256At(target) ?? '' };
    const cipherText = sha256At(at(at(target, 'custom'), 'encryption'));
    return { correlationId, image, ...(cipherText === undefined ? {} : { cipherText }) };
  }
}

function sha256At(described: Json | undefined): string | undefined {
  const digest = at(at(described, 'hashes'), 'sha256');
  return typeof digest === 'string' ? digest : undefined;
}

function at(value: Json | undefined, name: string): Json | undefined {
  return isMap(value) ? value[name] : undefined;
}
