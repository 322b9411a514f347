/** Every command that has a file here. A new one is added to the list. */
import { adjustStock } from './adjust-stock';
import { changeLike } from './change-like';
import { registerProduct } from './register-product';

export const commands = [registerProduct, adjustStock, changeLike] as const;

/** The name of a registered command. */
export type CommandName = (typeof commands)[number]['name'];
