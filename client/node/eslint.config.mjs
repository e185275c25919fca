// The lints: the recommendations of eslint and typescript-eslint, with types.
import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import typescript from "typescript-eslint";

export default defineConfig(
  globalIgnores(["bin", "dist", "gen", "proto"]),
  js.configs.recommended,
  {
    files: ["src/**", "test/**"],
    extends: [typescript.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { project: "./tsconfig.json" } },
  },
  {
    files: ["test/**"],
    rules: {
      // The test runner awaits its tests.
      "@typescript-eslint/no-floating-promises": [
        "error",
        { allowForKnownSafeCalls: [{ from: "package", name: "test", package: "node:test" }] },
      ],
    },
  },
  {
    // The kit's JSON has the type any; its runner checks the results.
    files: ["test/driver.ts", "test/mapping.ts"],
    rules: {
      "@typescript-eslint/no-explicit-any": "off",
      "@typescript-eslint/no-unsafe-argument": "off",
      "@typescript-eslint/no-unsafe-assignment": "off",
      "@typescript-eslint/no-unsafe-call": "off",
      "@typescript-eslint/no-unsafe-member-access": "off",
      "@typescript-eslint/no-unsafe-return": "off",
    },
  },
  // tsc checks the names in these files.
  { files: ["examples/**", "prepare.mjs"], rules: { "no-undef": "off" } },
);
