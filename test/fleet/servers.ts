/** The servers of a fleet: killed and started again on demand, and what they cost. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

import { startDirector, type DirectorHandle, type StartOptions } from '../director/start.ts';
import { startPostgres, type Postgres } from '../support/postgres.ts';
import type { Arguments } from './arguments.ts';

/** Of the Director by default. Shorter by as much as time is faster: what expires is signed as often. */
const VALIDITY_DAYS = { targets: 365, snapshot: 365, timestamp: 30 };
const DAY_SECONDS = 86_400;
/** Of the kernel's clock that counts processor time (USER_HZ). */
const TICK_MS = 10;

export class Servers {
  readonly #options: Arguments;
  readonly #start: StartOptions;
  readonly #postgres: Postgres | undefined;
  #running: readonly DirectorHandle[] = [];
  /** Of processes that have ended. */
  #pastCpuMs = 0;
  readonly gatewayUrls: string[] = [];

  private constructor(options: Arguments, start: StartOptions, postgres: Postgres | undefined) {
    this.#options = options;
    this.#start = start;
    this.#postgres = postgres;
  }

  static async open(options: Arguments, directory: string): Promise<Servers> {
    const postgres = options.database === 'postgres' ? await startPostgres() : undefined;
    const stateDir = join(directory, 'director');
    const start = { stateDir, ...(postgres === undefined ? {} : { database: postgres.url }) };
    const servers = new Servers(options, start, postgres);
    try {
      await servers.restart();
      await servers.leader.control('PUT', '/settings', {
        validitySeconds: validityOf(options.compress),
      });
    } catch (error) {
      await servers.close();
      throw error;
    }
    return servers;
  }

  /** The one that publishes. */
  get leader(): DirectorHandle {
    const [first] = this.#running;
    if (first === undefined) throw new Error('the servers are down');
    return first;
  }

  get areUp(): boolean {
    return this.#running.length > 0;
  }

  /** On the ports of before, so that devices find them again. */
  async restart(): Promise<void> {
    const ports = this.gatewayUrls.map((url) => Number(new URL(url).port));
    const one = (at: number): StartOptions => ({
      ...this.#start,
      ...(at === 0 ? {} : { join: true }),
      ...(ports[at] === undefined ? {} : { port: ports[at] }),
    });
    const running = [await startDirector(one(0))];
    const others = Array.from({ length: this.#options.servers - 1 }, (_, at) =>
      startDirector(one(at + 1)),
    );
    running.push(...(await Promise.all(others)));
    this.#running = running;
    if (ports.length === 0) this.gatewayUrls.push(...running.map((server) => server.gatewayUrl));
  }

  /** As a power cut would end them: connections are refused from then on. */
  async kill(): Promise<void> {
    const running = this.#running;
    this.#pastCpuMs = this.cpuMs();
    this.#running = [];
    await Promise.all(running.map((server) => server.kill()));
  }

  /** Processor time of the server processes so far; without the database. */
  cpuMs(): number {
    return this.#running.reduce((sum, { pid }) => sum + cpuMsOf(pid), this.#pastCpuMs);
  }

  /** Of PostgreSQL with all its processes; SQLite is in the servers. */
  databaseCpuMs(): number {
    return this.#postgres === undefined ? 0 : withChildrenMs(this.#postgres.pid);
  }

  async close(): Promise<void> {
    await Promise.all(this.#running.map((server) => server.stop()));
    this.#running = [];
    await this.#postgres?.stop();
  }
}

function validityOf(compress: number): Readonly<Record<string, number>> {
  const entries = Object.entries(VALIDITY_DAYS).map(([role, days]) => [
    role,
    Math.ceil((days * DAY_SECONDS) / compress),
  ]);
  return Object.fromEntries(entries) as Record<string, number>;
}

/** proc(5): utime and stime are fields 14 and 15, those of children that were waited for 16 and 17. */
function cpuMsOf(pid: number, { waitedFor = false } = {}): number {
  const fields = statOf(pid);
  const counted = waitedFor ? fields.slice(11, 15) : fields.slice(11, 13);
  return counted.reduce((sum, ticks) => sum + Number(ticks) * TICK_MS, 0);
}

function withChildrenMs(pid: number): number {
  const children = readdirSync('/proc')
    .filter((name) => /^\d+$/u.test(name) && Number(statOf(Number(name))[1]) === pid)
    .map((name) => cpuMsOf(Number(name)));
  return children.reduce((sum, ms) => sum + ms, cpuMsOf(pid, { waitedFor: true }));
}

/** Fields from the third on, the state; none when the process is gone. */
function statOf(pid: number): readonly string[] {
  try {
    const text = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return [];
  }
}
