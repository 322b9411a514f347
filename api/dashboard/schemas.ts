/** What the dashboard's page must know, in answers. */
import { z } from 'zod';

/** The settings of this installation. */
export const settingsSchema = z.object({
  operator: z.string().describe("the key's name"),
  temporalUiUrl: z.string(),
  temporalNamespace: z.string(),
  demonstration: z.boolean().describe('whether the routes below /v1/demonstration are there'),
});
