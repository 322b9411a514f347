/** What an experiment is. */

/** One question, and how the answer is found on real servers. */
export interface Experiment {
  readonly name: string;
  /** What it asks. */
  readonly question: string;
  /** The heads of the table that answers it; the writing has the same. */
  readonly columns: readonly string[];
  run(): Promise<Findings>;
}

/** What was seen. */
export interface Findings {
  /** A cell for each column. */
  readonly rows: readonly (readonly (string | number)[])[];
  /** What has to be known to read it. */
  readonly remarks: readonly string[];
}
