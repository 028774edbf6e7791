/**
 * Fault injection: what a test may do to the device from outside, and nothing that a TA could see.
 *
 * Made only when the world has a control socket.
 */
import type { Disks } from '../storage/backends.ts';
import type { BlockDirectory } from '../storage/block-file.ts';
import { FaultyDirectory } from '../storage/faulty-directory.ts';
import { TaPanic, type TrustedApp } from '../ta.ts';
import type { ReplyFaults } from '../world/server.ts';
import type { World } from '../world/world.ts';
import type { ControlCommand } from './command.ts';
import { DiskFaultPlan } from './disk-faults.ts';
import { ReplyFaultPlan } from './reply-faults.ts';
import { Snapshots } from './snapshots.ts';
import { TaFaultPlan } from './ta-faults.ts';

/** What control is exercised over. */
export interface Device {
  readonly world: World;
  /** The disks that storage is on. */
  disks(): Disks;
  /** Ends every connection and starts again; `whileOff` sees the disks when nobody else does. */
  restart(whileOff: (disks: Disks) => void): void;
}

export type Report = Readonly<Record<string, unknown>>;

export class Control {
  readonly #disk = new DiskFaultPlan(dieOfPowerCut);
  readonly #replies = new ReplyFaultPlan();
  readonly #tas = new TaFaultPlan();
  readonly #snapshots = new Snapshots();

  get replies(): ReplyFaults {
    return this.#replies;
  }

  wrapDisk(disk: BlockDirectory): BlockDirectory {
    return new FaultyDirectory(disk, this.#disk);
  }

  wrapApp(app: TrustedApp): TrustedApp {
    return this.#tas.wrap(app);
  }

  /** @throws ControlFailure when it cannot be done */
  run(command: ControlCommand, device: Device): Report {
    switch (command.do) {
      case 'panic':
        return this.#panic(command, device.world);
      case 'kill':
        this.#disk.killAt(command.step, command.when);
        return {};
      case 'snapshot':
        this.#snapshots.take(command.name, device.disks());
        return {};
      case 'restore':
        device.restart(this.#snapshots.restoring(command.name, command.disk));
        return {};
      case 'no-space':
        this.#disk.limit(command.room);
        return {};
      case 'delay':
        this.#replies.delay(command.which, command.ms, command.times);
        return {};
      case 'drop':
        this.#replies.drop(command.which, command.nth);
        return {};
      case 'swallow':
        this.#replies.swallow(command.which);
        return {};
      case 'status':
        return this.#status(device.world);
      case 'clear':
        this.#clear();
        return {};
    }
  }

  #panic(
    { ta, nth, code }: Extract<ControlCommand, { readonly do: 'panic' }>,
    world: World,
  ): Report {
    if (nth === undefined) {
      return { instances: world.panic(ta, new TaPanic(code, 'the control socket says so')) };
    }
    this.#tas.panicAt(ta, nth, code);
    return {};
  }

  #status(world: World): Report {
    return {
      pid: process.pid,
      ...this.#disk.counts,
      sessions: world.sessions,
      instances: world.instances,
      snapshots: this.#snapshots.names,
      swallowed: this.#replies.heldCount,
    };
  }

  #clear(): void {
    this.#disk.clear();
    this.#replies.clear();
    this.#tas.clear();
  }
}

/** Nothing runs after this: the kernel ends the process before the call returns to it. */
function dieOfPowerCut(): never {
  process.kill(process.pid, 'SIGKILL');
  for (;;);
}
