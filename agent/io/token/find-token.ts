/** Finding the token that a URI means among those that are present. */
import graphene from 'graphene-pk11';

import { OtaError } from '../../errors.ts';
import type { TokenUri } from './pkcs11-uri.ts';
import { PROVISION } from './token-errors.ts';

const { TokenFlag } = graphene;

/** A slot and what was read of its token at that moment. */
export interface Candidate {
  readonly slot: graphene.Slot;
  readonly slotId: number;
  readonly info: graphene.Token;
}

/**
 * The one initialised token that matches.
 *
 * @param text - the URI as configured, for messages
 * @throws OtaError TOKEN_ABSENT, with the tokens that are there, if none matches
 * @throws OtaError TOKEN_OBJECT if several match
 */
export function findToken(module: graphene.Module, uri: TokenUri, text: string): Candidate {
  const present = candidates(module);
  const matching = present.filter((one) => isInitialised(one) && matches(one, uri));
  const [found, ...others] = matching;
  if (found === undefined) {
    const found = present.map(describe).join(', ') || 'no token';
    const remedy = `correct token.uri, or ${PROVISION}`;
    throw new OtaError('TOKEN_ABSENT', { uri: text, found, remedy });
  }
  if (others.length > 0) {
    throw new OtaError('TOKEN_OBJECT', {
      uri: text,
      problem: `several tokens match: ${matching.map(describe).join(', ')}`,
      remedy: 'add serial= or slot-id= to token.uri',
    });
  }
  return found;
}

/**
 * The first uninitialised token in a slot that the URI allows; its label is still to be given.
 *
 * @returns `undefined` if every such token is in use
 */
export function findBlankToken(module: graphene.Module, uri: TokenUri): Candidate | undefined {
  const unlabelled = { ...uri, token: undefined };
  return candidates(module).find((one) => !isInitialised(one) && matches(one, unlabelled));
}

/** Whether any initialised token matches; several do as well. */
export function hasToken(module: graphene.Module, uri: TokenUri): boolean {
  return candidates(module).some((one) => isInitialised(one) && matches(one, uri));
}

/** A slot as it is at this moment. */
export function candidateOf(slot: graphene.Slot): Candidate {
  return { slot, slotId: slotIdOf(slot), info: slot.getToken() };
}

function candidates(module: graphene.Module): Candidate[] {
  const slots = module.getSlots(true);
  return Array.from({ length: slots.length }, (_, index) => candidateOf(slots.items(index)));
}

function isInitialised({ info }: Candidate): boolean {
  return (info.flags & TokenFlag.TOKEN_INITIALIZED) !== 0;
}

/** Whether a token, its slot and its library are as the URI says (RFC 7512 §2.5). */
export function matches({ slot, slotId, info }: Candidate, uri: TokenUri): boolean {
  const { module } = slot;
  const { major, minor } = module.libraryVersion;
  const pairs: [string | number | undefined, string | number][] = [
    [uri.token, info.label],
    [uri.serial, info.serialNumber],
    [uri.manufacturer, info.manufacturerID],
    [uri.model, info.model],
    [uri.slotId, slotId],
    [uri.slotManufacturer, slot.manufacturerID],
    [uri.slotDescription, slot.slotDescription],
    [uri.libraryManufacturer, module.manufacturerID],
    [uri.libraryDescription, module.libraryDescription],
    [fullVersion(uri.libraryVersion), `${String(major)}.${String(minor)}`],
  ];
  return pairs.every(([wanted, present]) => wanted === undefined || isSame(wanted, present));
}

/** Names are padded with blanks (PKCS#11 v2.40 §3.2); some libraries pad with more than that. */
function isSame(wanted: string | number, present: string | number): boolean {
  return String(wanted).trimEnd() === String(present).trimEnd();
}

/** `2` means 2.0 (RFC 7512 §2.3). */
function fullVersion(version: string | undefined): string | undefined {
  if (version === undefined) return undefined;
  const [major, minor = 0] = version.split('.');
  return `${String(Number(major))}.${String(Number(minor))}`;
}

export function describe(one: Candidate): string {
  const where = `slot ${String(one.slotId)}`;
  if (!isInitialised(one)) return `an uninitialised one in ${where}`;
  return `"${one.info.label}" (serial ${one.info.serialNumber}, ${where})`;
}

/** A slot identifier is a CK_ULONG in the machine's own size and order. */
function slotIdOf(slot: graphene.Slot): number {
  return slot.handle.readUIntLE(0, Math.min(slot.handle.length, 6));
}
