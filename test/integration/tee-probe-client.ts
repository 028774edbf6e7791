/** A client of the probe TAs that speaks WIRE.md itself, so that it can do what libteec would not. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

import { PROBE } from '../support/probe-ta.ts';
import * as wire from '../unit/tee/wire-client.ts';

export const PROBE_TA = '01020304-0506-0708-090a-0b0c0d0e0f10';
export const OTHER_TA = '01020304-0506-0708-090a-0b0c0d0e0f11';
export const ANSWER_TIMEOUT_MS = 10_000;
const SUCCESS = 0;

function socketPath(): string {
  const path = process.env['OTA_TEE_SOCKET'];
  assert.ok(path, 'the test says where the world is');
  return path;
}

function isQueueFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}

/** One connection to a world with probe TAs, by the bytes of WIRE.md. */
export class Client {
  /** Those that are connected. */
  static readonly all = new Set<Client>();
  readonly socket: Socket;
  session = 0;
  #chunks: Buffer[] = [];
  #wantedBytes = 12;
  #waiting: ((answer: wire.Answer | undefined) => void)[] = [];
  #request = 10;

  private constructor(socket: Socket) {
    this.socket = socket;
    Client.all.add(this);
    socket.on('error', () => undefined);
    socket.on('close', () => {
      Client.all.delete(this);
      for (const settle of this.#waiting.splice(0)) settle(undefined);
    });
  }

  static async connect(): Promise<Client> {
    const end = Date.now() + ANSWER_TIMEOUT_MS;
    for (;;) {
      const client = new Client(connect(socketPath()));
      try {
        await once(client.socket, 'connect');
        return client;
      } catch (error) {
        // As many wait for accept(2) as the kernel allows (net.core.somaxconn), 128 on some machines.
        if (!isQueueFull(error) || Date.now() > end) throw error;
        await sleep(10);
      }
    }
  }

  /** With HELLO said and a session open. */
  static async open(uuid = PROBE_TA): Promise<Client> {
    const client = await Client.greet();
    client.session = (await client.openSession(uuid)).body.readUInt32LE(8);
    assert.notEqual(client.session, 0);
    return client;
  }

  static async greet(): Promise<Client> {
    const client = await Client.connect();
    client.read();
    await client.ask(wire.hello(1));
    return client;
  }

  static endAll(): void {
    for (const { socket } of Client.all) socket.destroy();
  }

  /** Until this is called the kernel's buffers are all the room that there is for answers. */
  read(): void {
    this.socket.on('data', (chunk: Buffer) => {
      this.#chunks.push(chunk);
      if (this.#chunks.reduce((sum, { byteLength }) => sum + byteLength, 0) >= this.#wantedBytes) {
        this.#settle(Buffer.concat(this.#chunks));
      }
    });
  }

  openSession(uuid = PROBE_TA): Promise<wire.Answer> {
    return this.ask(wire.openSession(this.next(), { uuid }));
  }

  invoke(command: number, parameters: readonly wire.WireParameter[]): Promise<wire.Answer> {
    return this.ask(wire.invoke(this.next(), this.session, command, parameters));
  }

  /** The next answer, whatever it answers. */
  async ask(bytes: Buffer): Promise<wire.Answer> {
    const answer = await new Promise<wire.Answer | undefined>((settle, reject) => {
      this.#waiting.push(settle);
      setTimeout(() => {
        reject(new Error('no answer'));
      }, ANSWER_TIMEOUT_MS).unref();
      this.socket.write(bytes);
    });
    assert.ok(answer, 'the connection is open');
    return answer;
  }

  next(): number {
    this.#request += 1;
    return this.#request;
  }

  /** A value and some bytes go to the TA and come back as they should. */
  async echoes(bytes = Buffer.from('abc')): Promise<void> {
    const [a, b] = [this.session, bytes.byteLength];
    const { body } = await this.invoke(PROBE.ECHO, [
      { type: 3, a, b },
      { type: 7, bytes },
      { type: 0 },
      { type: 0 },
    ]);
    assert.deepEqual([body.readUInt32LE(0), body.readUInt32LE(4)], [SUCCESS, 4]);
    assert.deepEqual(wire.readOutputs(body.subarray(8)), [
      { a: b, b: a },
      { size: b, bytes: Buffer.from(bytes).reverse() },
    ]);
  }

  #settle(received: Buffer): void {
    let at = 0;
    for (this.#wantedBytes = 12; received.byteLength - at >= this.#wantedBytes;) {
      this.#wantedBytes = 12 + received.readUInt32LE(at);
      if (received.byteLength - at < this.#wantedBytes) break;
      this.#waiting.shift()?.(wire.readAnswer(received.subarray(at)));
      at += this.#wantedBytes;
      this.#wantedBytes = 12;
    }
    this.#chunks = [received.subarray(at)];
  }
}

/** Resolves when the world has ended the connection, or fails. */
export async function isClosed(client: Client): Promise<boolean> {
  if (!client.socket.destroyed) {
    await once(client.socket, 'close', { signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) });
  }
  return true;
}
