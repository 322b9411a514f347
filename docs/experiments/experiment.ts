/** What an experiment is. */

/** One question, and how the answer is found on real servers. */
export interface Experiment {
  readonly name: string;
  /** What it asks. */
  readonly question: string;
  run(): Promise<Findings>;
}

/** A table of what was seen. */
export interface Findings {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number)[])[];
  /** What has to be known to read it. */
  readonly remarks: readonly string[];
}
