/**
 * Installs through a service of its own: the agent has the network, the service the privileges.
 *
 * Images are streamed whatever the service does with them, so that the file which it proves is never
 * one that the agent can still change.
 */
import type { Fields } from '../../../decode.ts';
import type { Installer, OpenImage, Progress, StreamingInstaller } from '../../../ports.ts';
import type { TrustedTarget } from '../../../uptane/plan.ts';
import type { Help, InstallerLink } from './link.ts';

type Shape = Pick<Installer, 'kind' | 'needsReboot' | 'noteGoodBoot'>;

export class SeparateInstaller implements StreamingInstaller {
  readonly takes = 'stream';
  readonly kind: string;
  readonly #link: InstallerLink;
  readonly #ecu: string;
  readonly #shape: Shape;
  readonly noteGoodBoot?: () => Promise<void>;

  /** @param shape - what the service has for this ECU */
  constructor(link: InstallerLink, ecu: string, shape: Shape) {
    this.kind = shape.kind;
    // Asked in every cycle: not of a service that would only be started to do nothing.
    if (shape.noteGoodBoot !== undefined) {
      this.noteGoodBoot = async () => {
        await this.#ask('noteGoodBoot', undefined);
      };
    }
    this.#link = link;
    this.#ecu = ecu;
    this.#shape = shape;
  }

  /** What a program of the user declares, it declares to the service: it may run nowhere else. */
  get needsReboot(): boolean | Promise<boolean> {
    if (this.kind !== 'command') return this.#shape.needsReboot;
    return this.describe().then(({ reboot }) => reboot === 'true');
  }

  async check(target: TrustedTarget): Promise<void> {
    await this.#ask('check', target);
  }

  async receive(target: TrustedTarget, open: OpenImage, progress: Progress): Promise<void> {
    await this.#ask('receive', target, { open, progress });
  }

  async prove(target: TrustedTarget, progress: Progress): Promise<void> {
    await this.#ask('prove', target, { progress });
  }

  async activate(target: TrustedTarget): Promise<void> {
    await this.#ask('activate', target);
  }

  async booted(target: TrustedTarget): Promise<boolean> {
    return (await this.#ask('booted', target)).boolean('booted');
  }

  async confirm(target: TrustedTarget): Promise<void> {
    await this.#ask('confirm', target);
  }

  async rollBack(target: TrustedTarget): Promise<void> {
    await this.#ask('rollBack', target);
  }

  async describe(): Promise<Readonly<Record<string, string>>> {
    const found = (await this.#ask('describe', undefined)).object('found');
    return Object.fromEntries([...found.entries()].map(([name]) => [name, found.string(name)]));
  }

  #ask(step: string, target: TrustedTarget | undefined, help?: Help): Promise<Fields> {
    const ecu = target?.ecu ?? this.#ecu;
    return this.#link.ask({ do: step, ecu, ...(target === undefined ? {} : { target }) }, help);
  }
}
