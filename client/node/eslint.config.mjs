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
  // Its few globals; what else they name is checked by tsc.
  { files: ["examples/**"], rules: { "no-undef": "off" } },
);
