# Another package in the process may carry its own llama.cpp (llama-cpp-python does). Two copies must not mix:
#
# - file names and SONAMEs differ (rys_own_library), for the loader takes two libraries of one SONAME for the same one;
# - a symbol that a library defines is bound to that definition, not to a namesake that was loaded before;
# - no STB_GNU_UNIQUE symbols, which the loader makes one of in the whole process, whatever the libraries' scopes;
# - what comes from static libraries stays inside of the library that it was linked into. Where g++ links libstdc++.a,
#   its locale facets have such symbols: shared with a libstdc++.so in the process, two facets get the same number,
#   and a stream that prints an integer then ends the process.
#
# What remains is a library that binds to *another* one's symbol; rys/_extension.py sees to that when it loads _core.
# macOS needs none of this: there a symbol is looked up in the library it was linked against.

if(UNIX AND NOT APPLE)
    add_link_options("LINKER:-Bsymbolic" "LINKER:--exclude-libs,ALL")
    add_compile_options("$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fno-gnu-unique>")
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU") # nvcc's host compiler is then g++ as well, unless told otherwise
        add_compile_options("$<$<COMPILE_LANG_AND_ID:CUDA,NVIDIA>:-Xcompiler=-fno-gnu-unique>")
    endif()
endif()

# Makes a library of upstream's one of the package: name, place, search path.
function(rys_own_library target)
    get_target_property(type ${target} TYPE)
    if(type STREQUAL "SHARED_LIBRARY")
        set_target_properties(${target} PROPERTIES OUTPUT_NAME "rys-${target}")
    endif() # ggml finds a module (GGML_BACKEND_DL) by its file name
    # a versioned library is a file and two links to it, and a wheel stores links as copies
    set_property(TARGET ${target} PROPERTY VERSION)
    set_property(TARGET ${target} PROPERTY SOVERSION)
    set_property(TARGET ${target} PROPERTY PUBLIC_HEADER) # not installed
    rys_install(${target} lib "")
endfunction()

# Installs a target into `folder` of the package, from where it finds the libraries in `libraries` (relative to itself).
function(rys_install target folder libraries)
    if(APPLE)
        set(origin "@loader_path")
    else()
        set(origin "$ORIGIN")
    endif()
    if(libraries)
        string(APPEND origin "/${libraries}")
    endif()
    set_target_properties(${target} PROPERTIES
        EXCLUDE_FROM_ALL OFF
        INSTALL_RPATH "${origin}"
        INSTALL_RPATH_USE_LINK_PATH ON) # the CUDA toolkit's folder and the like
    install(TARGETS ${target}
        LIBRARY DESTINATION "${folder}" COMPONENT rys
        RUNTIME DESTINATION "${folder}" COMPONENT rys)
endfunction()
