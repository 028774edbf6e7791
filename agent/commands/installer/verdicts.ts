/** What the installer itself has verified: metadata from whoever brings it, trust from its own roots. */
import { readFile } from 'node:fs/promises';

import type { Separation } from '../../config-separation.ts';
import { converse } from '../../cycle/fetch.ts';
import { readTarget } from '../../cycle/state.ts';
import { Fields, parseJson } from '../../decode.ts';
import { causeOf, OtaError, type Repo } from '../../errors.ts';
import type { MetadataSource } from '../../io/installers/separate/link.ts';
import type { SqliteStore } from '../../io/store/store.ts';
import type { Clock } from '../../ports.ts';
import type { Format } from '../../uptane/format.ts';
import { isSameImage, type EcuInventory } from '../../uptane/inventory.ts';
import { decryptedOf, type Target, type TrustedTarget } from '../../uptane/plan.ts';
import { verifyFirstRoot } from '../../uptane/store.ts';
import { trust } from '../../uptane/trust.ts';
import { verify } from '../../uptane/verify.ts';

export interface VerdictSettings {
  readonly separation: Separation;
  readonly formats: Readonly<Record<Repo, Format>>;
  readonly vehicleId: string | undefined;
}

const ACCEPTED = 'accepted';
const RELEASES = 'releases';

export class Verdicts {
  readonly #store: SqliteStore;
  readonly #clock: Clock;
  readonly #settings: VerdictSettings;

  constructor(store: SqliteStore, clock: Clock, settings: VerdictSettings) {
    this.#store = store;
    this.#clock = clock;
    this.#settings = settings;
  }

  /**
   * Verifies anew. What was accepted before counts no more, however this ends: an agent that somebody
   * has taken over must not choose between verdicts.
   *
   * @throws OtaError as `verify`, and what `ask` throws
   */
  async verify(ask: MetadataSource): Promise<void> {
    await this.#store.saveFact(ACCEPTED, '[]');
    await this.#pinRoots();
    const { formats, vehicleId } = this.#settings;
    const now = this.#clock.now();
    const talk = verify({
      trusted: await this.#store.loadTrusted(),
      inventory: await this.#inventory(),
      now,
      directorFormat: formats.director,
      imageFormat: formats.image,
      ...(vehicleId === undefined ? {} : { vehicleId }),
    });
    const { targets } = await converse(talk, async (need) => {
      if (need.need === 'fetch') return ask(need.repo, need.file, need.maxBytes);
      await this.#store.keep([need]);
      return undefined;
    });
    // Metadata that is fresh vouches for the time: it does not go back behind it.
    await this.#store.raiseLatestKnownTime(now);
    await this.#store.saveFact(ACCEPTED, formatTargets(targets));
  }

  /**
   * The image that both repositories have signed for this ECU, if that is what is meant.
   *
   * @throws OtaError INSTALL_FAILED for any other
   */
  async demand(told: Target, installer: string): Promise<TrustedTarget> {
    const found = await this.#find(told);
    if (found !== undefined) return found;
    const { ecu, filename, format = 'none' } = told;
    const what = `${filename} (targetFormat ${format}) is not what both repositories have signed`;
    const cause = `${what} for this ECU, by what the installer (${installer}) itself has verified`;
    throw new OtaError('INSTALL_FAILED', { installer, ecu, cause });
  }

  /** The same, but verifies first where nothing was accepted for it yet. */
  async demandOrVerify(
    told: Target,
    installer: string,
    ask: MetadataSource,
  ): Promise<TrustedTarget> {
    if ((await this.#find(told)) === undefined) await this.verify(ask);
    return this.demand(told, installer);
  }

  /** From now on no lower release is accepted on this ECU. */
  async confirmed(told: Target): Promise<void> {
    const { ecu, releaseCounter } = (await this.#find(told)) ?? {};
    if (ecu === undefined || releaseCounter === undefined) return;
    const releases = await this.#releases();
    if ((releases.get(ecu) ?? 0) >= releaseCounter) return;
    releases.set(ecu, releaseCounter);
    await this.#store.saveFact(RELEASES, JSON.stringify(Object.fromEntries(releases)));
  }

  /** Every image that may be installed now; in the clear, as the agent hands it over. */
  async accepted(): Promise<readonly TrustedTarget[]> {
    const text = (await this.#store.fact(ACCEPTED)) ?? '[]';
    const fields = new Fields(parseJson(Buffer.from(`{"targets":${text}}`), ACCEPTED), ACCEPTED);
    return fields.objects('targets').map((target) => decryptedOf(trust(readTarget(target))));
  }

  async #find(told: Target): Promise<TrustedTarget | undefined> {
    const { ecu, format } = told;
    return (await this.accepted()).find(
      (one) => one.ecu === ecu && one.format === format && isSameImage(one, told),
    );
  }

  /** Nothing counts as installed, so that every image that is wanted is verified and named. */
  async #inventory(): Promise<readonly EcuInventory[]> {
    const releases = await this.#releases();
    return this.#settings.separation.ecus.map((ecu) => {
      const highest = releases.get(ecu.serial);
      return highest === undefined ? ecu : { ...ecu, highestReleaseCounter: highest };
    });
  }

  async #releases(): Promise<Map<string, number>> {
    const text = (await this.#store.fact(RELEASES)) ?? '{}';
    const fields = new Fields(parseJson(Buffer.from(text), RELEASES), RELEASES);
    return new Map([...fields.entries()].map(([ecu]) => [ecu, fields.integer(ecu, 0)]));
  }

  /** Each once: afterwards only its own keys replace a root. */
  async #pinRoots(): Promise<void> {
    const trusted = await this.#store.loadTrusted();
    const { roots } = this.#settings.separation;
    for (const [repo, path] of [['director', roots[0]] as const, ['image', roots[1]] as const]) {
      if (trusted.has(`${repo}/root`)) continue;
      const bytes = await readRoot(path);
      verifyFirstRoot(repo, bytes, this.#settings.formats[repo]);
      await this.#store.keep([{ need: 'keep', repo, role: 'root', bytes }]);
    }
  }
}

function formatTargets(targets: readonly Target[]): string {
  return JSON.stringify(targets, (_key, value: unknown) =>
    value instanceof Map ? Object.fromEntries<unknown>(value) : value,
  );
}

async function readRoot(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    const remedy = 'check uptane.roots: the installer has to be able to read them';
    const details = { path, what: 'root metadata', cause: causeOf(cause), remedy };
    throw new OtaError('FILE_UNREADABLE', details, { cause });
  }
}
