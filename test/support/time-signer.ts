/** A time server in memory that tells whatever time a test wants. */
import type { TimeServer } from '../../agent/ports.ts';
import { readTimeKeys } from '../../agent/uptane/attested-time.ts';
import { ed25519, envelope, keysObject, type Key } from './build-metadata.ts';

export class TimeSigner implements TimeServer {
  readonly #key = ed25519();
  readonly authority = readTimeKeys(
    Buffer.from(JSON.stringify({ keys: keysObject([this.#key]), threshold: 1 })),
  );
  /** `YYYY-MM-DDTHH:MM:SSZ` */
  time: string;
  /** Instead of the key that devices know. */
  signer: Key = this.#key;
  /** Sends this answer again. */
  replayed: Uint8Array | undefined;
  /** Instead of an answer. */
  failure: Error | undefined;
  last: Uint8Array | undefined;

  constructor(time: string) {
    this.time = time;
  }

  askTime(request: Uint8Array): Promise<Uint8Array> {
    if (this.failure !== undefined) return Promise.reject(this.failure);
    const { nonces } = JSON.parse(Buffer.from(request).toString()) as { nonces: string[] };
    this.last =
      this.replayed ?? envelope({ _type: 'Time', nonces, time: this.time }, [this.signer]);
    return Promise.resolve(this.last);
  }
}
