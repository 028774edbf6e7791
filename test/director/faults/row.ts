/** What there is to say of one fault. */

export type Parameter = number | string;
export type Parameters = Readonly<Record<string, Parameter>>;

/** Where a fault takes hold. */
export type Stage =
  | 'image-metadata'
  | 'director-metadata'
  | 'metadata-bytes'
  | 'image'
  | 'treehub'
  | 'time'
  | 'answer'
  | 'server-certificate';

export interface FaultRow {
  readonly stages: readonly Stage[];
  /** As Uptane Standard 2.1 §4.3 calls it; `nuisance` when it is none. */
  readonly attack: string;
  readonly what: string;
  /** What ota-agent calls it, with the parameters below; empty where it goes on as if nothing were. */
  readonly code: string;
  /** With defaults; the type of the default is the type of the parameter. */
  readonly parameters: Parameters;
  /** Sends versions that a correct client keeps: honest versions must pass them afterwards. */
  readonly raisesVersions?: true;
  /** What is meant exists once: it cannot strike one device alone. */
  readonly forAll?: true;
}
