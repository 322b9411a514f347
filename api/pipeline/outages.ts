/** The state of the pipeline for requests: an outage of Kafka becomes a 503. */
import type { PipelineState } from '../../operations/pipeline-state';
import { Problem } from '../http/problem';

/** The same, whose `readLag` throws a Problem 503 when Kafka is unavailable. */
export function withOutagesAsProblems(state: PipelineState): PipelineState {
  return {
    ...state,
    async readLag() {
      try {
        return await state.readLag();
      } catch (error) {
        throw new Problem('KAFKA_UNAVAILABLE', { cause: error });
      }
    },
  };
}
