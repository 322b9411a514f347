/** Validates responses of the API against its OpenAPI document: status, media type and body. */
import Ajv2020, { type ValidateFunction } from 'ajv/dist/2020';
import addFormats from 'ajv-formats';

/** The described parts of a response. */
interface DescribedAnswer {
  readonly status: number;
  readonly contentType: string | null;
  /** The JSON, or the text. */
  readonly body: unknown;
}

/** Validates one response. @throws NonconformingAnswerError */
export type ConformanceCheck = (method: string, url: string, answer: DescribedAnswer) => void;

/** A response that the document does not allow. */
export class NonconformingAnswerError extends Error {
  override readonly name = 'NonconformingAnswerError';
  readonly code = 'NONCONFORMING_ANSWER';
}

interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
}

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, object>> }>
  >;
}

export function createConformanceCheck(document: object): ConformanceCheck {
  const { paths } = document as Document;
  const templates = Object.keys(paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]*')}$`),
  }));
  const validatorOf = createValidators(document);
  return (method, url, { status, contentType, body }) => {
    const { pathname } = new URL(url);
    const what = `${method} ${pathname} answered ${status}`;
    // A path without parameters goes before one that has them, as in the router.
    const template = Object.hasOwn(paths, pathname)
      ? pathname
      : templates.find(({ pattern }) => pattern.test(pathname))?.template;
    const operation = template && paths[template]?.[method.toLowerCase()];
    if (!template || !operation) {
      // Undescribed paths are 404, and undescribed methods 405, with the same problem everywhere.
      if (status === 404 || status === 405) return;
      throw new NonconformingAnswerError(`${what}, but is not in the document.`);
    }
    const described = operation.responses[status];
    if (described === undefined) {
      const detail = JSON.stringify(body);
      throw new NonconformingAnswerError(
        `${what}, a status that is not in the document: ${detail}`,
      );
    }
    const mediaType = contentType?.split(';', 1)[0] ?? '';
    if (!Object.hasOwn(described.content ?? {}, mediaType)) {
      throw new NonconformingAnswerError(`${what} as ${mediaType}, which is not in the document.`);
    }
    const place = ['paths', template, method.toLowerCase(), 'responses', String(status), 'content'];
    const validate = validatorOf([...place, mediaType, 'schema']);
    if (validate(body)) return;
    const faults = JSON.stringify(validate.errors);
    throw new NonconformingAnswerError(
      `${what} against its schema: ${faults} ${JSON.stringify(body)}`,
    );
  };
}

function createValidators(document: object): (path: readonly string[]) => ValidateFunction {
  const ajv = new Ajv2020({ strict: false, allErrors: true });
  addFormats(ajv);
  // The document itself is not a schema, only the target of references.
  ajv.addSchema(document, 'openapi.json', undefined, false);
  const compiled = new Map<string, ValidateFunction>();
  return (path) => {
    const pointer = path.map((part) => part.replaceAll('~', '~0').replaceAll('/', '~1')).join('/');
    const known = compiled.get(pointer);
    if (known !== undefined) return known;
    const fragment = encodeURI(pointer).replaceAll('{', '%7B').replaceAll('}', '%7D');
    const made = ajv.compile({ $ref: `openapi.json#/${fragment}` });
    compiled.set(pointer, made);
    return made;
  };
}
