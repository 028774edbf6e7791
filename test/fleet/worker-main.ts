/** A process with its share of the fleet's devices. */
import { readFileSync } from 'node:fs';

import { isOtaError } from '../../agent/errors.ts';
import { DeviceCertificates } from './certificates.ts';
import { FleetDevice, type Poll, type Surroundings } from './device.ts';
import type { FromWorker, Share, ToWorker, Usage } from './messages.ts';
import { isBadFor, memberAt } from './population.ts';
import { SimulatedTime } from './simulated-time.ts';
import { UptaneKeys } from './uptane-keys.ts';

const REPORT_MS = 500;
const REGISTERING = 8;
const MINUTE_MS = 60_000;

class Worker {
  readonly #stop = new AbortController();
  readonly #devices: FleetDevice[] = [];
  readonly #runs: Promise<void>[] = [];
  #time: SimulatedTime | undefined;
  #keys: UptaneKeys | undefined;
  #polls: Poll[] = [];
  #cpuBefore = process.cpuUsage();
  #reports: NodeJS.Timeout | undefined;

  async prepare(share: Share): Promise<void> {
    const startMs = performance.now();
    const time = new SimulatedTime(share.options.compress);
    this.#time = time;
    const certificates = await DeviceCertificates.open(share.stateDir);
    this.#keys = new UptaneKeys(share.token);
    const failures = { ...share.options, failOn: new Map(share.options.failOn) };
    const surroundings = share.gatewayUrls.map((url) => surroundingsOf(share, url, time));
    for (let at = share.first; at < share.first + share.count; at += 1) {
      const member = memberAt(at, share.options);
      const around = surroundings[at % surroundings.length];
      if (around === undefined) throw new Error('there is no gateway');
      const own = {
        member,
        tls: await certificates.issue(member.id),
        key: this.#keys.make(member),
        isBad: (image: string) => isBadFor(member, image, failures),
      };
      this.#devices.push(await FleetDevice.create(own, around));
    }
    const waiting = [...this.#devices];
    await Promise.all(
      Array.from({ length: REGISTERING }, async () => {
        for (let next = waiting.pop(); next !== undefined; next = waiting.pop())
          await next.register();
      }),
    );
    say({ is: 'prepared', ms: performance.now() - startMs });
  }

  /** As a fleet that has been running for long: at any time in the interval. */
  start(startedAtMs: number, { options }: Share): void {
    const time = this.#time;
    if (time === undefined) throw new Error('the fleet is not prepared');
    time.start(startedAtMs);
    this.#cpuBefore = process.cpuUsage();
    const intervalMs = options.intervalMinutes * MINUTE_MS;
    for (const device of this.#devices) {
      this.#runs.push(this.#run(device, Math.random() * intervalMs, time));
    }
    this.#reports = setInterval(() => {
      this.#report();
    }, REPORT_MS);
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#runs);
    clearInterval(this.#reports);
    this.#report();
    const images: Record<string, number> = {};
    for (const { image } of this.#devices) images[image] = (images[image] ?? 0) + 1;
    await Promise.all(this.#devices.map((device) => device.close()));
    this.#keys?.close();
    say({ is: 'stopped', images });
    process.disconnect();
  }

  async #run(device: FleetDevice, firstMs: number, time: SimulatedTime): Promise<void> {
    await Promise.race([time.sleep(firstMs), aborted(this.#stop.signal)]);
    await device.run(this.#stop.signal, (poll) => {
      this.#polls.push(poll);
    });
  }

  #report(): void {
    say({ is: 'polls', polls: this.#polls, usage: usage(this.#cpuBefore) });
    this.#polls = [];
  }
}

function surroundingsOf(share: Share, gatewayUrl: string, time: SimulatedTime): Surroundings {
  return {
    gatewayUrl,
    caPem: readFileSync(share.caPath, 'utf8'),
    directorRoot: readFileSync(share.roots[0]),
    imageRoot: readFileSync(share.roots[1]),
    time,
    intervalMs: share.options.intervalMinutes * MINUTE_MS,
    healthDeadlineMs: share.options.healthMinutes * MINUTE_MS,
    stagingDirectory: share.stagingDirectory,
  };
}

function usage(before: NodeJS.CpuUsage): Usage {
  const { user, system } = process.cpuUsage(before);
  return { cpuMs: (user + system) / 1000, residentBytes: process.memoryUsage.rss() };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => {
      resolve();
    });
  });
}

function say(message: FromWorker): void {
  process.send?.(message);
}

const worker = new Worker();
let share: Share | undefined;
process.on('message', (message: ToWorker) => {
  if (message.do === 'prepare') {
    share = message.share;
    void worker.prepare(share);
  } else if (message.do === 'start' && share !== undefined)
    worker.start(message.startedAtMs, share);
  else void worker.stop();
});
process.once('disconnect', () => process.exit());
process.on('unhandledRejection', (error) => {
  process.stderr.write(`${isOtaError(error) ? error.message : String(error)}\n`);
  process.exit(1);
});
