/** What shows how far a download or an installation is. */
export interface ProgressView {
  update(phase: string, filename: string, done: number, total: number): void;
  stop(): void;
}
