/**
 * What the Director had assigned before an update came on a medium.
 *
 * A Director goes on naming the last image that it assigned, and does not know of the medium until the
 * device tells it. Taken for an update, that image would replace the newer one at the next poll; so
 * would an old answer that somebody replays.
 */
import { digest } from './canonical.ts';
import { readAssignments, type Assignment } from './director.ts';
import { parseTargets } from './metadata.ts';

/**
 * Names of what the Director's kept Targets assign.
 *
 * @param trusted - everything kept, by `REPO/ROLE`
 * @param counts - whether an assignment to this ECU is named
 */
export function assignedBefore(
  trusted: ReadonlyMap<string, Uint8Array>,
  counts: (ecu: string, name: string) => boolean,
): readonly string[] {
  const bytes = trusted.get('director/targets');
  if (bytes === undefined) return [];
  const { body } = parseTargets(bytes, 'director', 'targets');
  const correlationId = body.custom?.optionalString('correlationId');
  return readAssignments(body).flatMap((assignment) =>
    [...assignment.ecus.keys()]
      .map((ecu) => [ecu, nameOf(assignment, ecu, correlationId)] as const)
      .filter(([ecu, name]) => counts(ecu, name))
      .map(([, name]) => name),
  );
}

/** What is left when everything of before is taken away: assigned anew, it has another name. */
export function withoutSuperseded(
  assignments: readonly Assignment[],
  correlationId: string | undefined,
  superseded: ReadonlySet<string>,
): readonly Assignment[] {
  if (superseded.size === 0) return assignments;
  return assignments.flatMap((assignment) => {
    const ecus = new Map(
      [...assignment.ecus].filter(
        ([ecu]) => !superseded.has(nameOf(assignment, ecu, correlationId)),
      ),
    );
    return ecus.size === 0 ? [] : [{ ...assignment, ecus }];
  });
}

function nameOf(
  { filename, lengthBytes, hashes }: Assignment,
  ecu: string,
  correlationId: string | undefined,
): string {
  const facts = [correlationId ?? '', ecu, filename, lengthBytes, [...hashes].sort()];
  return digest('sha256', Buffer.from(JSON.stringify(facts)));
}
