/** Token files: a token in the first line, then the broker's certificate; and what makes either of them usable. */

import { X509Certificate } from "node:crypto";

import { InvalidError, invalid } from "./error.js";
import { FileProblem, readPrivate } from "./private_file.js";

/** What a token file holds. */
export interface TokenFile {
  token: string;
  /** The broker's certificate in PEM; empty in a file for plain TCP. */
  certificate: string;
}

/** The field that an error for an unusable token file names. */
const FIELD = "token_file";
const MADE = 'as made by "cardbroker token new"';
const MAKE = 'make a new one with "cardbroker token new"';

/** The error for TLS without a token file. */
export function noTokenFile(endpoint: string): InvalidError {
  const made = 'make one with "cardbroker token new"';
  return invalid(FIELD, `${endpoint} needs a token file, which has the broker's certificate: ${made}`);
}

/** The error for a token file that names another broker than that of the connection. */
export function otherCertificate(path: string): InvalidError {
  return invalid(FIELD, `the token file ${path} has another certificate than before: connect anew`);
}

/** Reads a token file for plain TCP or for TLS. A token that came with a certificate is not sent over plain TCP. */
export async function readTokenFile(path: string, isPlain: boolean): Promise<TokenFile> {
  try {
    const found = parseTokenFile(await readPrivate(path));
    if (!found.certificate && !isPlain) {
      throw new FileProblem(`has no certificate: ${MAKE}, or use http:// for plain TCP`);
    }
    if (found.certificate && isPlain) {
      throw new FileProblem("has a certificate, and http:// is plain TCP: use https://");
    }
    return found;
  } catch (error) {
    throw error instanceof FileProblem ? invalid(FIELD, `the token file ${path} ${error.message}`) : error;
  }
}

/**
 * Parses the text of a token file.
 *
 * @throws {@link FileProblem}
 */
export function parseTokenFile(text: string): TokenFile {
  const [, token = "", certificate = ""] =
    /^([^\n]*)(?:\n([^]*))?$/.exec(text.trim())?.map((part) => part?.trim()) ?? [];
  if (!isToken(token)) {
    throw new FileProblem(`holds no token: one line of visible ASCII, ${MADE}`);
  }
  if (certificate && !isCertificate(certificate)) {
    throw new FileProblem(`has more than a token and a certificate in PEM, ${MADE}`);
  }
  if (certificate && isAuthority(certificate)) {
    throw new FileProblem(`has the certificate of an authority, which could sign others: ${MAKE}`);
  }
  return { token, certificate };
}

/** Whether the text is a token: visible ASCII, and not empty. */
export function isToken(text: string): boolean {
  return /^[\x21-\x7e]+$/.test(text);
}

/** Whether the text is one certificate in PEM and nothing else. */
export function isCertificate(text: string): boolean {
  const [, body = ""] = /^-----BEGIN CERTIFICATE-----([^-]+)-----END CERTIFICATE-----$/.exec(text) ?? [];
  const content = body.replace(/\s/g, "");
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(content) && content !== "";
}

/** Whether a holder of the certificate could sign others: TLS of other clients would accept those in its place. */
export function isAuthority(certificate: string): boolean {
  try {
    return new X509Certificate(certificate).ca;
  } catch {
    // No certificate at all; the handshake refuses it.
    return false;
  }
}
