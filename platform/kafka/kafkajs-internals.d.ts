/** Internals of kafkajs 2.2.4 that `protocol.ts` and `request-queue.ts` replace. */

declare module 'kafkajs/src/protocol/requests/fetch' {
  import type { RequestDefinition } from 'kafkajs/src/protocol/requests';
  const definition: RequestDefinition;
  export default definition;
}

declare module 'kafkajs/src/protocol/requests/metadata' {
  import type { RequestDefinition } from 'kafkajs/src/protocol/requests';
  const definition: RequestDefinition;
  export default definition;
}

declare module 'kafkajs/src/protocol/requests/produce' {
  import type { RequestDefinition } from 'kafkajs/src/protocol/requests';
  const definition: RequestDefinition;
  export default definition;
}

declare module 'kafkajs/src/protocol/requests' {
  /** A request of the protocol: its encoder and decoder, by version. */
  export interface RequestDefinition {
    readonly versions: readonly string[];
    protocol(choice: { readonly version: number | string }): (input: never) => {
      readonly request: { encode(): Promise<unknown>; readonly [name: string]: unknown };
      readonly response: {
        decode(bytes: Buffer): Promise<unknown>;
        parse(answer: never): Promise<unknown>;
      };
      readonly requestTimeout?: number;
    };
  }
}

declare module 'kafkajs/src/network/requestQueue' {
  /** The requests of one connection. */
  export default class RequestQueue {
    constructor(options: object);
    readonly pending: readonly unknown[];
    readonly throttleCheckTimeoutId: NodeJS.Timeout | null;
    push(request: object): void;
    fulfillRequest(response: object): void;
    scheduleCheckPendingRequests(): void;
    destroy(): void;
  }
}

declare module 'kafkajs/src/protocol/encoder' {
  export default class Encoder {
    writeInt16(value: number): this;
    writeInt32(value: number): this;
    writeString(value: string | null): this;
    writeBuffer(value: Buffer): this;
    writeEncoder(value: Encoder): this;
    writeArray(values: readonly Encoder[]): this;
  }
}

declare module 'kafkajs/src/protocol/error' {
  export function createErrorFromCode(code: number): Error & { readonly type: string };
}
