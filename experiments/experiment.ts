/** The interface of an experiment. */

/** One question, and how the answer is found on real servers. */
export interface Experiment {
  readonly name: string;
  readonly question: string;
  /** The page that quotes it; by default the writing, in both languages. */
  readonly page?: string;
  /** The header of the table that answers it, as that page has it. */
  readonly columns: readonly string[];
  run(): Promise<Findings>;
}

/** Results. */
export interface Findings {
  readonly rows: readonly (readonly (string | number)[])[];
  /** Notes for the reader. */
  readonly remarks: readonly string[];
}
