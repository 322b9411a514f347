/** The API, called with the operator's key. */

/** An error answer, or an unreachable API. The message is for people. */
export class ApiError extends Error {
  override readonly name = 'ApiError';

  constructor(
    /** Status of the answer; 0 when there was none. */
    readonly status: number,
    /** The answer's code, such as `OUT_OF_STOCK`. */
    readonly code: string,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** The API under one key. */
export interface Api {
  /** @param withinMs how long to wait for the answer, in ms @throws ApiError */
  get<Answer>(path: string, withinMs?: number): Promise<Answer>;
  /** Sends the same request again while its outcome is not decided. @throws ApiError */
  post<Answer>(path: string, body?: object): Promise<Answer>;
  /** Opens a stream of server-sent events. @throws ApiError, or what `fetch` throws when aborted */
  open(path: string, lastEventId: string | undefined, signal: AbortSignal): Promise<Response>;
}

/** The API with a key. @param onRefusedKey called when the key is not taken */
export function createApi(key: string, onRefusedKey: () => void): Api {
  const call = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers);
    headers.set('authorization', `Bearer ${key}`);
    const response = await fetch(path, { ...init, headers }).catch((error: unknown) => {
      if (init.signal?.aborted === true) throw error;
      throw new ApiError(0, 'UNREACHABLE', 'The API cannot be reached.', { cause: error });
    });
    if (response.status === 401 || response.status === 403) onRefusedKey();
    return response;
  };
  return {
    async get<Answer>(path: string, withinMs = 10_000) {
      return answerOf<Answer>(await call(path, { signal: AbortSignal.timeout(withinMs) }));
    },
    async post<Answer>(path: string, body: object = {}) {
      const headers = {
        'content-type': 'application/json',
        'idempotency-key': crypto.randomUUID(),
      };
      const init = { method: 'POST', headers, body: JSON.stringify(body) };
      for (let tries = 1; ; tries += 1) {
        const response = await call(path, init);
        const problem = response.ok ? undefined : await toError(response.clone());
        if (problem?.code !== 'UNDECIDED' || tries === maxTries) {
          return answerOf<Answer>(response);
        }
      }
    },
    async open(path, lastEventId, signal) {
      const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
      const response = await call(path, { headers, signal });
      if (!response.ok) throw await toError(response);
      return response;
    },
  };
}

const maxTries = 3;

async function answerOf<Answer>(response: Response): Promise<Answer> {
  if (response.ok) return (await response.json()) as Answer;
  throw await toError(response);
}

async function toError(response: Response): Promise<ApiError> {
  const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string };
  const { code = 'UNKNOWN', detail = `The API answered ${response.status}.` } = problem;
  return new ApiError(response.status, code, detail);
}
