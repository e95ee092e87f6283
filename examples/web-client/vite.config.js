import { avatarkitVitePlugin } from "@spatius/avatarkit/vite";

export default {
  base: "./", // bin/demo --web serves the build
  build: { target: "es2022" },
  plugins: [avatarkitVitePlugin()], // the WebAssembly of AvatarKit
};
