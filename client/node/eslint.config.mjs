// What eslint checks: its own and typescript-eslint's recommendations, with types.
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
      // The runner awaits its tests by itself.
      "@typescript-eslint/no-floating-promises": [
        "error",
        { allowForKnownSafeCalls: [{ from: "package", name: "test", package: "node:test" }] },
      ],
    },
  },
  {
    // The kit's JSON is any; its runner checks what becomes of it.
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
  // Its few globals; what else they name is checked by tsc.
  { files: ["examples/**", "prepare.mjs"], rules: { "no-undef": "off" } },
);
