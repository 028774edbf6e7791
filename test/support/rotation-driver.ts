/**
 * The agent in a process that ends itself, as a power cut would, at a chosen effect.
 *
 * What changes anything outside of the process is counted where it leaves: facts about the rotation in
 * the store, requests that are no reading, and operations of the token that write.
 */
import { writeSync } from 'node:fs';

import { assemble, type Agent } from '../../agent/assemble.ts';
import { loadSettings } from '../../agent/config.ts';
import { runCycle } from '../../agent/cycle/cycle.ts';
import { HttpClient, type Request } from '../../agent/io/http.ts';
import { openLog } from '../../agent/io/log.ts';
import { SqliteStore } from '../../agent/io/store/store.ts';
import { CKO, TLS_KEY, UPTANE_KEY } from '../../agent/io/token/cryptoki.ts';
import { destroyedKeyCount } from '../../agent/io/token/keys.ts';
import { openToken, Token, type TokenSettings } from '../../agent/io/token/token.ts';
import type { Rest } from '../../provisioning/rotate.ts';
import { parseRecord } from '../../provisioning/rotation-record.ts';
import type { Subject } from '../../provisioning/rotation.ts';

export interface Cut {
  /** Which effect from when it counts; the first is 1. */
  readonly effect: number;
  readonly moment: 'before' | 'after';
}

export interface DriverArgs {
  readonly configPath: string;
  /** Begun after the cycle, with effects counted from then on. */
  readonly rotate?: Subject;
  readonly cut?: Cut;
  /** `recovery`: effects are counted from the start, so that finishing is cut as well. */
  readonly count?: 'rotation' | 'recovery';
}

/** What a token holds, and which keys: by CKA_ID. */
export interface Census {
  readonly tls: readonly string[];
  readonly uptane: readonly string[];
  readonly publicKeys: number;
  readonly certificates: number;
}

/** Sent before the rotation begins. */
export interface Found {
  readonly found: true;
  readonly outcome: string;
  readonly census: Census;
}

export interface DriverResult {
  /** How the rotation ended, and the failure that it ended or waits with. */
  readonly rest: Rest['is'] | 'none';
  readonly failure: { readonly code: string; readonly details: object } | undefined;
  readonly effects: readonly string[];
  readonly census: Census;
}

const WRITES = /^(generate|store|destroy) /u;

class Counter {
  readonly effects: string[] = [];
  isCounting = false;
  readonly #cut: Cut | undefined;

  constructor(cut: Cut | undefined) {
    this.#cut = cut;
  }

  async around(name: string, act: () => unknown): Promise<unknown> {
    const end = this.#begin(name);
    const result = await act();
    end();
    return result;
  }

  aroundSync<T>(name: string, act: () => T): T {
    const end = this.#begin(name);
    const result = act();
    end();
    return result;
  }

  #begin(name: string): () => void {
    if (!this.isCounting) return () => undefined;
    const isHere = this.effects.push(name) === this.#cut?.effect;
    if (isHere && this.#cut.moment === 'before') powerCut(`before ${name}`);
    return () => {
      if (isHere) powerCut(`after ${name}`);
    };
  }
}

function powerCut(where: string): void {
  writeSync(1, `power cut ${where}\n`);
  process.kill(process.pid, 'SIGKILL');
  // The signal may take a moment to arrive; nothing may happen in it.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
}

/** One cycle, which finishes what an earlier process left, and then perhaps a rotation. */
export async function run(args: DriverArgs): Promise<DriverResult> {
  const counter = new Counter(args.cut);
  watch(counter);
  counter.isCounting = args.count === 'recovery';
  const loaded = await loadSettings({ config: [args.configPath] });
  const agent = await assemble(loaded, openLog(loaded.settings.log, process.stderr));
  try {
    await demandWorkingIdentity(agent);
    const { outcome } = await runCycle(agent.ports);
    const found: Found = { found: true, outcome, census: census(agent) };
    process.send?.(found);
    counter.isCounting = true;
    // This process has finished what another began, and its TLS engine knows a key that is gone.
    const isStale = args.rotate === 'tls' && destroyedKeyCount() > 0;
    const rest =
      args.rotate === undefined || isStale ? undefined : await agent.upkeep.rotate(args.rotate);
    return {
      rest: rest?.is ?? 'none',
      failure: await failureOf(agent, rest),
      effects: counter.effects,
      census: census(agent),
    };
  } finally {
    await agent.close();
  }
}

/** Without a rotation of its own, that of the one that it found and ended. */
async function failureOf(
  { store }: Agent,
  rest: Rest | undefined,
): Promise<DriverResult['failure']> {
  if (rest?.is === 'waiting') return { code: rest.why.code, details: rest.why.details };
  if (rest?.is === 'undone') return rest.failure;
  return rest === undefined ? parseRecord(await store.fact('rotation')).last?.failure : undefined;
}

/** As `ota-agent check` begins: with the identity that was loaded, before anything is finished. */
async function demandWorkingIdentity({ ports }: Agent): Promise<void> {
  const answer = await ports.repositories.fetchMetadata('director', 'timestamp.json', 65_536);
  if (answer === undefined) throw new Error('the gateway does not answer this identity');
}

function census({ ports, identity }: Agent): Census {
  if (ports.signer.keyId === '') throw new Error('no signer');
  const token = new Token(identity.token.settings, 'read-only', undefined);
  try {
    return token.run('count', (session) => {
      const ids = (label: string): string[] => {
        const keys = session.find({ class: CKO.PRIVATE_KEY, label });
        return Array.from({ length: keys.length }, (_, index) =>
          keys.items(index).getAttribute(0x102).toString('hex'),
        );
      };
      return {
        tls: ids(TLS_KEY.label),
        uptane: ids(UPTANE_KEY.label),
        publicKeys: session.find({ class: CKO.PUBLIC_KEY }).length,
        certificates: session.find({ class: CKO.CERTIFICATE }).length,
      };
    });
  } finally {
    token.close();
  }
}

/** Fills the token with data objects until it refuses even small ones, or takes them away again. */
export function fill({ settings, turn }: FillArgs): number {
  const token = openToken(settings, 'read-write', process.env);
  const application = { class: CKO_DATA, label: 'ballast' };
  return token.run('ballast', (session) => {
    if (turn === 'off') return session.destroy(application);
    for (const size of [1 << 20, 1 << 16, 1 << 12, 1 << 8]) {
      const value = Buffer.alloc(size);
      while (isTaken(() => session.create({ ...application, token: true, value })));
    }
    return session.find(application).length;
  });
}

export interface FillArgs {
  readonly settings: TokenSettings;
  readonly turn: 'on' | 'off';
}

const CKO_DATA = 0;

function isTaken(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('CKR_DEVICE_MEMORY')) return false;
    throw error;
  }
}

/** Three classes of the agent, each at the one method through which effects leave. */
function watch(counter: Counter): void {
  instead(SqliteStore.prototype, 'saveFact', (call, [name, value]) => {
    const step = /"at":"([^"]+)"/u.exec(String(value))?.[1] ?? 'over';
    if (name === 'rotation') return counter.around(`remembering ${step}`, call);
    if (name === 'ecu_registration') return counter.around('remembering the registration', call);
    return call();
  });
  instead(HttpClient.prototype, 'send', (call, [request]) => {
    const { method, url } = request as Request;
    return counter.around(`${method} ${new URL(url).pathname}`, call);
  });
  instead(Token.prototype, 'run', (call, [operation]) => {
    const name = String(operation);
    return WRITES.test(name) ? counter.aroundSync(name, call) : call();
  });
}

function instead<C extends object>(
  prototype: C,
  name: keyof C & string,
  act: (call: () => unknown, args: readonly unknown[]) => unknown,
): void {
  const original = Reflect.get(prototype, name) as (...args: unknown[]) => unknown;
  Reflect.set(prototype, name, function method(this: unknown, ...args: unknown[]) {
    return act(() => original.apply(this, args), args);
  });
}
